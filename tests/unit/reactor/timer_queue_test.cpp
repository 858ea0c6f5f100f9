#include "reactor/timer_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace waystation::test {
namespace {

constexpr auto kNever = TimerQueue::kNever;

/// Notes when it was called.
class Noting final : public Timer {
 public:
  Noting(TimerQueue& queue, int id, std::vector<int>& called)
      : Timer(queue), id_(id), called_(called) {}

  std::function<void()> action;

 private:
  void on_timer() noexcept override {
    called_.push_back(id_);
    if (action) action();
  }

  int id_;
  std::vector<int>& called_;
};

class TimerQueueTest : public testing::Test {
 protected:
  std::unique_ptr<Noting> make(int id, std::int64_t deadline_ms = kNever) {
    auto timer = std::make_unique<Noting>(queue_, id, called_);
    timer->set(deadline_ms);
    return timer;
  }

  TimerQueue queue_;
  std::vector<int> called_;
};

TEST_F(TimerQueueTest, IsEmptyAtFirst) {
  EXPECT_EQ(queue_.next(), kNever);
  const auto timer = make(1);
  EXPECT_EQ(queue_.next(), kNever);
  queue_.run(1'000'000);
  EXPECT_TRUE(called_.empty());
}

TEST_F(TimerQueueTest, CallsTheSoonestFirstAndNoneBeforeItsTime) {
  std::vector<std::unique_ptr<Noting>> timers;
  for (const int deadline : {30, 10, 20, 40}) timers.push_back(make(deadline, deadline));
  EXPECT_EQ(queue_.next(), 10);
  queue_.run(9);
  EXPECT_TRUE(called_.empty());
  queue_.run(30);
  EXPECT_EQ(called_, (std::vector{10, 20, 30}));
  EXPECT_EQ(queue_.next(), 40);
  EXPECT_EQ(queue_.size(), 1U);
}

TEST_F(TimerQueueTest, SeveralMayHaveTheSameDeadline) {
  std::vector<std::unique_ptr<Noting>> timers;
  for (const int id : {1, 2, 3}) timers.push_back(make(id, 10));
  timers[1]->set(20);
  queue_.run(10);
  std::ranges::sort(called_);
  EXPECT_EQ(called_, (std::vector{1, 3}));
  queue_.run(20);
  EXPECT_EQ(called_, (std::vector{1, 3, 2}));
}

TEST_F(TimerQueueTest, HoldsOneDeadlineOfEachHoweverOftenItIsMoved) {
  const auto timer = make(7, 25'000);
  for (std::int64_t now = 0; now < 1000; ++now) {
    timer->set(now);
    EXPECT_EQ(queue_.next(), now);
    timer->set(25'000);
  }
  EXPECT_EQ(queue_.size(), 1U);
  EXPECT_EQ(queue_.next(), 25'000);
  timer->set_sooner(30'000);
  EXPECT_EQ(timer->deadline_ms(), 25'000);
  timer->set_sooner(20'000);
  EXPECT_EQ(timer->deadline_ms(), 20'000);
}

TEST_F(TimerQueueTest, ATimerWithoutADeadlineOrAnOwnerIsNotCalled) {
  const auto cancelled = make(1, 10);
  auto destroyed = make(2, 15);
  const auto other = make(3, 20);
  cancelled->set(kNever);
  cancelled->set(kNever);
  destroyed.reset();
  queue_.run(100);
  EXPECT_EQ(called_, (std::vector{3}));
  EXPECT_EQ(queue_.size(), 0U);
}

TEST_F(TimerQueueTest, ATimerIsCalledOnceAndMaySetItselfAgain) {
  const auto timer = make(1, 10);
  queue_.run(10);
  queue_.run(20);
  EXPECT_EQ(called_, (std::vector{1}));
  // Also to a time that is over: the thread has other work, too.
  timer->action = [&] { timer->set(0); };
  timer->set(30);
  queue_.run(30);
  EXPECT_EQ(called_, (std::vector{1, 1}));
  EXPECT_EQ(queue_.next(), 31);
  queue_.run(31);
  EXPECT_EQ(called_, (std::vector{1, 1, 1}));
}

TEST_F(TimerQueueTest, ATimerMayDestroyItselfAndOthersWhileItIsCalled) {
  auto first = make(1, 10);
  auto second = make(2, 10);
  auto third = make(3, 11);
  first->action = [&] { second.reset(), first.reset(); };
  if (second) second->action = [&] { first.reset(), second.reset(); };
  queue_.run(11);
  EXPECT_EQ(called_.size(), 2U);
  EXPECT_EQ(called_.back(), 3);
}

TEST_F(TimerQueueTest, KeepsTheOrderOfManyThatMoveAndGo) {
  std::mt19937 engine(1);
  const auto random = [&] { return static_cast<int>(engine() % 1000); };
  std::vector<std::unique_ptr<Noting>> timers;
  for (int id = 0; id < 500; ++id) timers.push_back(make(id, random()));
  for (int i = 0; i < 5000; ++i) {
    auto& timer = timers[engine() % timers.size()];
    if (random() % 8 == 0) {
      timer.reset();
      timer = make(0, kNever);
    } else {
      timer->set(random() % 5 == 0 ? kNever : random());
    }
  }
  std::vector<std::int64_t> expected;
  for (const auto& timer : timers) {
    if (timer->deadline_ms() != kNever) expected.push_back(timer->deadline_ms());
  }
  std::ranges::sort(expected);
  std::vector<std::int64_t> found;
  while (queue_.next() != kNever) {
    found.push_back(queue_.next());
    const auto before = called_.size();
    queue_.run(queue_.next());
    found.insert(found.end(), called_.size() - before - 1, found.back());
  }
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace waystation::test
