#include "audit/semaphore.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace waystation::test {
namespace {

using namespace std::chrono_literals;
using Clock = Semaphore::Clock;

TEST(Semaphore, KeepsAPostForALaterWait) {
  Semaphore semaphore;
  semaphore.post();
  EXPECT_TRUE(semaphore.wait_until(Clock::now() + 1h));
}

TEST(Semaphore, WakesAnotherThread) {
  Semaphore semaphore;
  std::atomic<bool> was_woken = false;
  std::thread waiter([&] { was_woken = semaphore.wait_until(Clock::now() + 1h); });
  semaphore.post();
  waiter.join();
  EXPECT_TRUE(was_woken);
}

TEST(Semaphore, ReportsATimeout) {
  Semaphore semaphore;
  const auto time = Clock::now() + 2ms;
  EXPECT_FALSE(semaphore.wait_until(time));
  EXPECT_GE(Clock::now(), time);
  EXPECT_FALSE(semaphore.wait_until(time)) << "also if the time has passed";
}

}  // namespace
}  // namespace waystation::test
