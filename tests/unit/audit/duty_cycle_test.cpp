#include "audit/duty_cycle.hpp"

#include <gtest/gtest.h>

namespace waystation::test {
namespace {

using namespace std::chrono_literals;
using Clock = DutyCycle::Clock;

TEST(DutyCycle, PausesAfterAPeriodOfWork) {
  DutyCycle duty_cycle;
  const Clock::time_point begin{};
  EXPECT_FALSE(duty_cycle.pause_if_due(begin + DutyCycle::kWork - 1us));
  const auto before = Clock::now();
  EXPECT_TRUE(duty_cycle.pause_if_due(begin + DutyCycle::kWork));
  EXPECT_GE(Clock::now() - before, DutyCycle::kPause);
}

TEST(DutyCycle, BeginsANewPeriodAfterAPause) {
  DutyCycle duty_cycle;
  const auto before = Clock::now();
  ASSERT_TRUE(duty_cycle.pause_if_due(before));
  EXPECT_FALSE(duty_cycle.pause_if_due(before + DutyCycle::kPause + DutyCycle::kWork - 1us));
  EXPECT_TRUE(duty_cycle.pause_if_due(Clock::now() + DutyCycle::kWork));
}

}  // namespace
}  // namespace waystation::test
