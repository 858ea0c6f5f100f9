#include "audit/row_queue.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace waystation::test {
namespace {

Delivery row(std::int64_t at, std::string_view id = "m1") {
  return {Outcome::pushed, at, "alice_bob", "alice", "bob", id, 2, 11};
}

TEST(RowQueue, ReturnsRowsInOrderWithEveryField) {
  RowQueue queue(4096);
  ASSERT_TRUE(queue.push(row(1)));
  Delivery lost{Outcome::dropped, 2, "", "", "carol", "", 0, 70000};
  lost.key = ~std::uint64_t{0};
  lost.taken = 3;
  ASSERT_TRUE(queue.push(lost));
  auto cursor = queue.begin();
  auto first = queue.next(cursor);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->outcome, Outcome::pushed);
  EXPECT_EQ(first->at, 1);
  EXPECT_EQ(first->group, "alice_bob");
  EXPECT_EQ(first->from, "alice");
  EXPECT_EQ(first->to, "bob");
  EXPECT_EQ(first->id, "m1");
  EXPECT_EQ(first->reached, 2U);
  EXPECT_EQ(first->bytes, 11U);
  auto second = queue.next(cursor);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->outcome, Outcome::dropped);
  EXPECT_EQ(second->group, "");
  EXPECT_EQ(second->to, "carol");
  EXPECT_EQ(second->bytes, 70000U);
  EXPECT_EQ(second->key, ~std::uint64_t{0});
  EXPECT_EQ(second->taken, 3U);
  EXPECT_EQ(second->reached, 0U);
  EXPECT_FALSE(queue.next(cursor));
}

TEST(RowQueue, KeepsRowsUntilTheyAreReleased) {
  RowQueue queue(4096);
  queue.push(row(1));
  queue.push(row(2));
  auto cursor = queue.begin();
  queue.next(cursor);
  EXPECT_EQ(queue.size(), 2U);
  queue.release(cursor);
  EXPECT_EQ(queue.size(), 1U);
  auto again = queue.begin();
  EXPECT_EQ(queue.next(again)->at, 2);
}

TEST(RowQueue, RefusesRowsThatDoNotFitAndAcceptsRowsAgainLater) {
  RowQueue queue(4096);
  std::int64_t taken = 0;
  while (queue.push(row(taken))) ++taken;
  EXPECT_GT(taken, 40);
  EXPECT_EQ(queue.size(), static_cast<std::uint64_t>(taken));
  auto cursor = queue.begin();
  queue.next(cursor);
  queue.release(cursor);
  EXPECT_TRUE(queue.push(row(taken)));
  EXPECT_FALSE(queue.push(row(taken + 1)));
  for (std::int64_t at = 1; at <= taken; ++at) EXPECT_EQ(queue.next(cursor)->at, at);
}

TEST(RowQueue, WrapsRowsOfAnyLengthRoundItsEnd) {
  RowQueue queue(4096);
  std::int64_t next_out = 0;
  auto cursor = queue.begin();
  for (std::int64_t at = 0; at < 20'000; ++at) {
    const std::string id(static_cast<std::size_t>(at * 7 % 65), 'x');
    while (!queue.push(row(at, id))) {
      const auto out = queue.next(cursor);
      ASSERT_TRUE(out);
      ASSERT_EQ(out->at, next_out);
      ASSERT_EQ(out->id.size(), static_cast<std::size_t>(next_out * 7 % 65));
      ++next_out;
      queue.release(cursor);
    }
  }
  while (const auto out = queue.next(cursor)) EXPECT_EQ(out->at, next_out++);
  EXPECT_EQ(next_out, 20'000);
}

TEST(RowQueue, RefusesATextThatIsTooLongForAName) {
  RowQueue queue(4096);
  EXPECT_FALSE(queue.push(row(1, std::string(256, 'x'))));
  EXPECT_EQ(queue.size(), 0U);
}

TEST(RowQueue, SaturatesCountsBeyondItsTypes) {
  RowQueue queue(4096);
  queue.push({Outcome::pushed, 1, "a_b", "a", "b", "", 1'000'000, std::size_t{1} << 40});
  auto cursor = queue.begin();
  const auto out = queue.next(cursor);
  EXPECT_EQ(out->reached, 65535U);
  EXPECT_EQ(out->bytes, 4294967295U);
}

TEST(RowQueue, LosesNothingBetweenTwoThreads) {
  RowQueue queue(1 << 16);
  constexpr std::int64_t kRows = 300'000;
  std::thread producer([&] {
    for (std::int64_t at = 0; at < kRows; ++at) {
      while (!queue.push(row(at))) std::this_thread::yield();
    }
  });
  std::int64_t expected = 0;
  auto cursor = queue.begin();
  while (expected < kRows) {
    const auto out = queue.next(cursor);
    if (!out) {
      queue.release(cursor);
      std::this_thread::yield();
      continue;
    }
    if (out->at != expected || out->to != "bob") break;
    ++expected;
    // At any time, no more rows are out than in.
    queue.release(cursor);
    if (queue.size() > static_cast<std::uint64_t>(kRows)) break;
  }
  EXPECT_EQ(expected, kRows);
  if (expected != kRows) std::exit(1);  // otherwise the producer waits forever
  producer.join();
}

}  // namespace
}  // namespace waystation::test
