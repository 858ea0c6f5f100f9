#include "reactor/timer_queue.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace waystation {
namespace {

constexpr auto kNever = TimerQueue::kNever;

std::vector<std::uint64_t> ids_in_order(TimerQueue& queue) {
  std::vector<std::uint64_t> ids;
  while (const auto entry = queue.next()) {
    ids.push_back(entry->id);
    queue.move(entry->id, entry->deadline_ms, kNever);
  }
  return ids;
}

TEST(TimerQueue, HasNothingAtFirst) {
  EXPECT_EQ(TimerQueue().next(), std::nullopt);
}

TEST(TimerQueue, GivesTheSoonestFirst) {
  TimerQueue queue;
  for (const std::int64_t deadline : {30, 10, 20, 40}) {
    queue.move(static_cast<std::uint64_t>(deadline), kNever, deadline);
  }
  EXPECT_EQ(queue.next()->deadline_ms, 10);
  EXPECT_EQ(ids_in_order(queue), (std::vector<std::uint64_t>{10, 20, 30, 40}));
}

TEST(TimerQueue, OneDeadlineMayBeThatOfSeveral) {
  TimerQueue queue;
  for (const std::uint64_t id : {1U, 2U, 3U}) queue.move(id, kNever, 10);
  queue.move(2, 10, 20);
  EXPECT_EQ(ids_in_order(queue), (std::vector<std::uint64_t>{1, 3, 2}));
}

TEST(TimerQueue, HoldsOneDeadlineOfEachHoweverOftenItIsMoved) {
  TimerQueue queue;
  queue.move(7, kNever, 25'000);
  std::int64_t before = 25'000;
  for (std::int64_t now = 0; now < 1000; ++now) {
    queue.move(7, before, now);
    queue.move(7, now, 25'000);
    before = 25'000;
  }
  EXPECT_EQ(queue.size(), 1U);
  EXPECT_EQ(queue.next(), (TimerQueue::Entry{25'000, 7}));
}

TEST(TimerQueue, ForgetsWhoHasNoDeadlineAnyMore) {
  TimerQueue queue;
  queue.move(1, kNever, 10);
  queue.move(2, kNever, 20);
  queue.move(1, 10, kNever);
  queue.move(3, kNever, kNever);
  EXPECT_EQ(ids_in_order(queue), (std::vector<std::uint64_t>{2}));
}

}  // namespace
}  // namespace waystation
