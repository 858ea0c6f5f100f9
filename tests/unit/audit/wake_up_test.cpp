#include "audit/wake_up.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace waystation {
namespace {

using namespace std::chrono_literals;
using Clock = WakeUp::Clock;

TEST(WakeUp, ReachesASleepThatIsYetToBegin) {
  WakeUp wake_up;
  wake_up.wake();
  EXPECT_TRUE(wake_up.sleep_until(Clock::now() + 1h));
}

TEST(WakeUp, EndsASleepOfAnotherThread) {
  WakeUp wake_up;
  std::atomic<bool> was_woken = false;
  std::thread sleeper([&] { was_woken = wake_up.sleep_until(Clock::now() + 1h); });
  wake_up.wake();
  sleeper.join();
  EXPECT_TRUE(was_woken);
}

TEST(WakeUp, SaysThatTheTimeCame) {
  WakeUp wake_up;
  const auto time = Clock::now() + 2ms;
  EXPECT_FALSE(wake_up.sleep_until(time));
  EXPECT_GE(Clock::now(), time);
  EXPECT_FALSE(wake_up.sleep_until(time)) << "also where it is past";
}

}  // namespace
}  // namespace waystation
