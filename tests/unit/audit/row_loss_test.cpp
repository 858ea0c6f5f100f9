#include "audit/row_loss.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace waystation::test {
namespace {

TEST(RowLoss, ReturnsCountAndTimesOfTheLoss) {
  RowLoss loss;
  EXPECT_EQ(loss.unrecorded().lost, 0);
  for (const std::int64_t at : {500, 400, 700}) loss.add(at);
  const auto gap = loss.unrecorded();
  EXPECT_EQ(gap.lost, 3);
  EXPECT_EQ(gap.since, 400);
  EXPECT_EQ(gap.until, 700);
}

TEST(RowLoss, StartsAgainAtZeroAfterALossIsRecorded) {
  RowLoss loss;
  loss.add(500);
  loss.mark_recorded(loss.unrecorded());
  EXPECT_EQ(loss.unrecorded().lost, 0);
  EXPECT_EQ(loss.count(), loss.recorded());
  loss.add(900);
  const auto gap = loss.unrecorded();
  EXPECT_EQ(gap.lost, 1);
  EXPECT_EQ(gap.since, 900);
  EXPECT_EQ(gap.until, 900);
  EXPECT_EQ(loss.count(), 2);
}

TEST(RowLoss, LossesAfterAReadAreInTheNextGap) {
  RowLoss loss;
  loss.add(500);
  const auto first = loss.unrecorded();
  loss.add(600);
  loss.mark_recorded(first);
  const auto second = loss.unrecorded();
  EXPECT_EQ(second.lost, 1);
  EXPECT_EQ(second.since, 600);
  EXPECT_EQ(second.until, 600);
}

TEST(RowLoss, AGapThatWasNotCommittedIsInTheNextOne) {
  RowLoss loss;
  loss.add(500);
  loss.unrecorded();
  loss.add(400);
  loss.unrecorded();
  loss.add(700);
  const auto gap = loss.unrecorded();
  EXPECT_EQ(gap.lost, 3);
  EXPECT_EQ(gap.since, 400);
  EXPECT_EQ(gap.until, 700);
  loss.mark_recorded(gap);
  EXPECT_EQ(loss.recorded(), 3);
}

TEST(RowLoss, AGapBeginsWithADroppedRowWhoseMessageIsOlderThanTheLastGap) {
  constexpr std::int64_t kNow = 1'000'000;
  constexpr std::int64_t kFiveMinutes = 300'000;
  RowLoss loss;
  loss.add(kNow);
  loss.mark_recorded(loss.unrecorded());
  loss.add(kNow - kFiveMinutes);
  loss.add(kNow + 1);
  const auto gap = loss.unrecorded();
  EXPECT_EQ(gap.lost, 2);
  EXPECT_EQ(gap.since, kNow - kFiveMinutes);
  EXPECT_EQ(gap.until, kNow + 1);
}

TEST(RowLoss, AGapThatEndsInTheMillisecondOfTheLastOneStartsThere) {
  RowLoss loss;
  loss.add(400);
  loss.add(1000);
  const auto first = loss.unrecorded();
  loss.add(1000);
  loss.mark_recorded(first);
  const auto second = loss.unrecorded();
  EXPECT_EQ(second.lost, 1);
  EXPECT_EQ(second.since, 1000);
  EXPECT_EQ(second.until, 1000);
}

TEST(RowLoss, CountsLossesAfterTheClockWasSetBack) {
  RowLoss loss;
  loss.add(1000);
  loss.mark_recorded(loss.unrecorded());
  loss.add(500);
  loss.add(600);
  const auto gap = loss.unrecorded();
  EXPECT_EQ(gap.since, 500);
  EXPECT_EQ(gap.until, 600);
}

TEST(RowLoss, LosesNoCountBetweenTwoThreads) {
  constexpr std::int64_t kRows = 200'000;
  RowLoss loss;
  std::atomic<bool> is_done = false;
  std::thread producer([&] {
    for (std::int64_t at = 1; at <= kRows; ++at) loss.add(at);
    is_done = true;
  });
  std::int64_t told = 0;
  std::int64_t until = 0;
  while (!is_done || loss.count() != loss.recorded()) {
    const auto gap = loss.unrecorded();
    if (gap.lost == 0) continue;
    // Time passes with each row: the gap has the times of its own rows, however the threads meet.
    EXPECT_EQ(gap.since, told + 1);
    EXPECT_EQ(gap.until, told + gap.lost);
    told += gap.lost;
    until = gap.until;
    loss.mark_recorded(gap);
  }
  producer.join();
  EXPECT_EQ(told, kRows);
  EXPECT_EQ(until, kRows);
}

}  // namespace
}  // namespace waystation::test
