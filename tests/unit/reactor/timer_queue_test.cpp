#include "reactor/timer_queue.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace waystation {
namespace {

TEST(TimerQueue, HasNothingAtFirst) {
  TimerQueue queue;
  EXPECT_EQ(queue.next(), std::nullopt);
  EXPECT_FALSE(queue.pop_due(1'000'000));
}

TEST(TimerQueue, GivesTheSoonestFirst) {
  TimerQueue queue;
  for (const std::int64_t deadline : {30, 10, 20, 40}) {
    queue.add({deadline, static_cast<std::uint64_t>(deadline)});
  }
  EXPECT_EQ(queue.next(), 10);
  std::vector<std::uint64_t> ids;
  while (const auto entry = queue.pop_due(35)) ids.push_back(entry->id);
  EXPECT_EQ(ids, (std::vector<std::uint64_t>{10, 20, 30}));
  EXPECT_EQ(queue.next(), 40);
}

TEST(TimerQueue, NothingIsDueBeforeItsTime) {
  TimerQueue queue;
  queue.add({10, 1});
  EXPECT_FALSE(queue.pop_due(9));
  EXPECT_TRUE(queue.pop_due(10));
  EXPECT_FALSE(queue.pop_due(10));
}

TEST(TimerQueue, OneMayHaveSeveralDeadlines) {
  TimerQueue queue;
  queue.add({20, 1});
  queue.add({10, 1});
  EXPECT_EQ(queue.pop_due(100)->deadline_ms, 10);
  EXPECT_EQ(queue.pop_due(100)->deadline_ms, 20);
}

TEST(TimerQueue, ForgetsAllAtOnce) {
  TimerQueue queue;
  queue.add({10, 1});
  queue.add({20, 2});
  queue.clear();
  EXPECT_EQ(queue.next(), std::nullopt);
}

}  // namespace
}  // namespace waystation
