#include "api/warning_interval.hpp"

#include <gtest/gtest.h>

namespace waystation {
namespace {

TEST(WarningInterval, LetsOneWarningAMinuteThroughFromTheStartOfTheClock) {
  using std::chrono::milliseconds;
  WarningInterval warnings;
  const auto is_due = [&](int ms) {
    return warnings.is_due(WarningInterval::Clock::time_point(milliseconds(ms)));
  };
  EXPECT_TRUE(is_due(0)) << "the machine has just started";
  EXPECT_FALSE(is_due(0));
  EXPECT_FALSE(is_due(59'999));
  EXPECT_TRUE(is_due(60'000));
  EXPECT_FALSE(is_due(119'999));
  EXPECT_TRUE(is_due(500'000));
  EXPECT_FALSE(is_due(559'999));
}

static_assert(WarningInterval::Clock::is_steady);

}  // namespace
}  // namespace waystation
