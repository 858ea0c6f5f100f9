#include "api/dispatcher.hpp"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <new>
#include <vector>

namespace waystation {
namespace {

using namespace std::chrono_literals;

/// A job that says when it runs and goes on when told.
struct Gate {
  Dispatcher::Job job() {
    return [this] {
      entered.set_value();
      opened.get_future().wait();
    };
  }
  std::promise<void> entered, opened;
};

TEST(Dispatcher, RunsJobsInOrderOnAThreadOfItsOwn) {
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

TEST(Dispatcher, TakesNoMoreThanItsBoundWhileOneIsSlow) {
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

TEST(Dispatcher, WhatItTookButDidNotBeginCountsAgainstTheBound) {
  Gate first, second;
  Dispatcher dispatcher(2);
  // The second batch is taken as a whole; its first job is slow.
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

TEST(Dispatcher, AJobMayPostAnother) {
  std::promise<void> done;
  Dispatcher dispatcher(10);
  dispatcher.post([&] { dispatcher.post([&] { done.set_value(); }); });
  done.get_future().wait();
}

TEST(Dispatcher, AJobThatThrowsEndsAlone) {
  int ran = 0;
  Dispatcher dispatcher(10);
  dispatcher.post([] { throw std::bad_alloc(); });
  dispatcher.post([] { throw 1; });
  dispatcher.post([&] { ++ran; });
  dispatcher.stop(20s);
  EXPECT_EQ(ran, 1);
}

TEST(Dispatcher, WhatAJobHeldIsGoneWhenTheNextBegins) {
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

TEST(Dispatcher, StopWaitsForTheJobThatRunsAndTellsHowManyWereNotBegun) {
  Gate gate;
  Dispatcher dispatcher(100);
  int ran = 0;
  dispatcher.post(gate.job());
  gate.entered.get_future().wait();
  for (int i = 0; i < 10; ++i) dispatcher.post([&] { ++ran; });
  auto stopped = std::async(std::launch::async, [&] { return dispatcher.stop(0ms); });
  // It takes nothing more as soon as it is stopping; the job goes on all the same.
  while (dispatcher.post([&] { ++ran; })) std::this_thread::yield();
  EXPECT_EQ(stopped.wait_for(0ms), std::future_status::timeout);
  gate.opened.set_value();
  EXPECT_GE(stopped.get(), 10U);
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(dispatcher.stop(0ms), 0U);
  EXPECT_FALSE(dispatcher.post([] {}));
}

}  // namespace
}  // namespace waystation
