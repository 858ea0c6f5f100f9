#include "api/dispatcher.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "support/sockets.hpp"

namespace waystation::test {
namespace {

using namespace std::chrono_literals;

/// A job that signals its start and continues when released.
struct Gate {
  Dispatcher::Job job() {
    return [this] {
      entered.set_value();
      opened.get_future().wait();
    };
  }
  std::promise<void> entered, opened;
};

TEST(Dispatcher, RunsJobsInOrderOnItsThread) {
  std::vector<int> ran;
  std::thread::id thread;
  {
    Dispatcher dispatcher(1000);
    for (int i = 0; i < 500; ++i) {
      ASSERT_TRUE(dispatcher.post([&, i] {
        ran.push_back(i);
        thread = std::this_thread::get_id();
        EXPECT_TRUE(dispatcher.is_own_thread());
      }));
    }
    EXPECT_FALSE(dispatcher.is_own_thread());
    EXPECT_EQ(dispatcher.stop(20s), 0U);
  }
  ASSERT_EQ(ran.size(), 500U);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(ran[static_cast<std::size_t>(i)], i);
  EXPECT_NE(thread, std::this_thread::get_id());
}

TEST(Dispatcher, RefusesJobsBeyondItsBound) {
  Gate gate;
  Dispatcher dispatcher(3);
  int ran = 0;
  ASSERT_TRUE(dispatcher.post(gate.job()));
  gate.entered.get_future().wait();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(dispatcher.post([&] { ++ran; }));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(dispatcher.post([&] { ran += 100; }));
  gate.opened.set_value();
  dispatcher.stop(20s);
  EXPECT_EQ(ran, 3);
}

TEST(Dispatcher, WaitingJobsOfABatchCountAgainstTheBound) {
  Gate first, second;
  Dispatcher dispatcher(2);
  // The worker takes the second batch as a whole; its first job is slow.
  ASSERT_TRUE(dispatcher.post(first.job()));
  first.entered.get_future().wait();
  ASSERT_TRUE(dispatcher.post(second.job()));
  ASSERT_TRUE(dispatcher.post([] {}));
  first.opened.set_value();
  second.entered.get_future().wait();
  EXPECT_TRUE(dispatcher.post([] {}));
  EXPECT_FALSE(dispatcher.post([] {}));
  second.opened.set_value();
}

TEST(Dispatcher, JobMayPostAnother) {
  std::promise<void> done;
  Dispatcher dispatcher(10);
  dispatcher.post([&] { dispatcher.post([&] { done.set_value(); }); });
  done.get_future().wait();
}

TEST(Dispatcher, ThrowingJobDoesNotStopOthers) {
  int ran = 0;
  Dispatcher dispatcher(10);
  dispatcher.post([] { throw std::bad_alloc(); });
  dispatcher.post([] { throw 1; });
  dispatcher.post([&] { ++ran; });
  dispatcher.stop(20s);
  EXPECT_EQ(ran, 1);
}

TEST(Dispatcher, JobIsDestroyedBeforeTheNextBegins) {
  const auto held = std::make_shared<int>();
  Dispatcher dispatcher(10);
  Gate gate;
  long count = 0;
  dispatcher.post(gate.job());
  dispatcher.post([held] {});
  dispatcher.post([&] { count = held.use_count(); });
  gate.opened.set_value();
  dispatcher.stop(20s);
  EXPECT_EQ(count, 1);
}

TEST(Dispatcher, StopWaitsForTheRunningJobAndReturnsTheAbandoned) {
  Gate gate;
  Dispatcher dispatcher(1'000'000);  // never full: it refuses only when it stops
  int ran = 0;
  dispatcher.post(gate.job());
  gate.entered.get_future().wait();
  for (int i = 0; i < 10; ++i) dispatcher.post([&] { ++ran; });
  auto stopped = std::async(std::launch::async, [&] { return dispatcher.stop(0ms); });
  // A stopping dispatcher refuses new jobs; the running job continues.
  ASSERT_TRUE(test::eventually([&] { return !dispatcher.post([&] { ++ran; }); }));
  EXPECT_EQ(stopped.wait_for(0ms), std::future_status::timeout);
  gate.opened.set_value();
  EXPECT_GE(stopped.get(), 10U);
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(dispatcher.stop(0ms), 0U);
  EXPECT_FALSE(dispatcher.post([] {}));
}

TEST(Dispatcher, RunsBetweenWhenWokenWithoutAJob) {
  std::promise<void> ran;
  std::atomic<bool> is_awaited = false;
  Dispatcher dispatcher(1, "test", [&] {
    if (is_awaited.exchange(false)) ran.set_value();
  });
  is_awaited = true;
  dispatcher.wake();
  ran.get_future().wait();
}

TEST(Dispatcher, RunsBetweenWhileJobsWait) {
  Gate first, second;
  std::atomic<bool> is_awaited = false;
  std::promise<void> ran;
  Dispatcher dispatcher(2, "test", [&] {
    if (is_awaited.exchange(false)) ran.set_value();
  });
  ASSERT_TRUE(dispatcher.post(first.job()));
  ASSERT_TRUE(dispatcher.post(second.job()));
  first.entered.get_future().wait();
  is_awaited = true;
  dispatcher.wake();
  first.opened.set_value();
  ran.get_future().wait();
  second.opened.set_value();
}

TEST(Dispatcher, RunsBetweenOnceMoreAtTheEnd) {
  std::vector<std::string> ran;
  {
    // The destructor without stop(), as when a later constructor throws.
    const Dispatcher dispatcher(1, "test", [&] { ran.push_back("between"); });
  }
  EXPECT_EQ(ran.back(), "between");
  ran.clear();
  Gate gate;
  Dispatcher dispatcher(3, "test", [&] { ran.push_back("between"); });
  ASSERT_TRUE(dispatcher.post(gate.job()));
  gate.entered.get_future().wait();
  std::size_t begun = 0;
  ASSERT_TRUE(dispatcher.post([&] { ++begun; }));
  std::thread opener([&] { gate.opened.set_value(); });
  const auto abandoned = dispatcher.stop(0s, [&](std::size_t count) {
    ran.push_back("last " + std::to_string(count));
    EXPECT_TRUE(dispatcher.is_own_thread());
  });
  opener.join();
  EXPECT_EQ(begun + abandoned, 1U);  // begun if the gate opened before the end
  ASSERT_GE(ran.size(), 2U);
  EXPECT_EQ(ran.end()[-2], "last " + std::to_string(abandoned));
  EXPECT_EQ(ran.end()[-1], "between");
}

}  // namespace
}  // namespace waystation::test
