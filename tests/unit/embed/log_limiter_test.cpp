#include "embed/log_limiter.hpp"

#include <gtest/gtest.h>

#include <string>

using namespace waystation::server;

namespace {

constexpr auto kLines = LogLimiter::kLines;
const LogLimiter::Clock::time_point start{std::chrono::hours{1}};

/// Of `count` lines with this text, the number that may be written.
std::uint64_t allowed(LogLimiter& limiter, std::uint64_t count, const std::string& text,
                      LogLevel level = LogLevel::warning,
                      LogLimiter::Clock::time_point now = start) {
  std::uint64_t result = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (limiter.allows(level, text, now)) ++result;
  }
  return result;
}

}  // namespace

TEST(LogLimiter, LimitsLinesOfAKindAndCountsTheRest) {
  LogLimiter limiter;
  EXPECT_EQ(allowed(limiter, kLines, "a socket was refused: for this"), kLines);
  EXPECT_EQ(allowed(limiter, 10'000, "a socket was refused: for that"), 0U);
  EXPECT_TRUE(limiter.end_intervals(start).empty());
  const auto suppressed = limiter.end_intervals(start + LogLimiter::kInterval);
  ASSERT_EQ(suppressed.size(), 1U);
  EXPECT_EQ(suppressed[0].kind, "a socket was refused");
  EXPECT_EQ(suppressed[0].count, 10'000U);
  EXPECT_EQ(suppressed[0].level, LogLevel::warning);
  EXPECT_TRUE(limiter.end_intervals(start + LogLimiter::kInterval).empty());
}

TEST(LogLimiter, StartsAgainAfterEachInterval) {
  LogLimiter limiter;
  EXPECT_EQ(allowed(limiter, 10'000, "x"), kLines);
  const auto later = start + LogLimiter::kInterval;
  (void)limiter.end_intervals(later);
  EXPECT_EQ(allowed(limiter, 10'000, "x", LogLevel::warning, later), kLines);
}

TEST(LogLimiter, SeparatesKindsByPrefixAndLevel) {
  LogLimiter limiter;
  EXPECT_EQ(allowed(limiter, 10'000, "civetweb: x", LogLevel::debug), kLines);
  EXPECT_EQ(allowed(limiter, 1, "audit: the disk is full", LogLevel::debug), 1U);
  EXPECT_EQ(allowed(limiter, 1, "civetweb: x", LogLevel::error), 1U);
  EXPECT_TRUE(limiter.end_intervals(start + LogLimiter::kInterval / 2).empty());
}

TEST(LogLimiter, LimitsNewKindsToo) {
  LogLimiter limiter;
  std::uint64_t lines = 0;
  for (int i = 0; i < 10'000; ++i) lines += allowed(limiter, 1, std::to_string(i) + ": x");
  EXPECT_EQ(lines, LogLimiter::kMaxKinds + kLines);
  const auto suppressed = limiter.end_intervals(start + LogLimiter::kInterval);
  ASSERT_EQ(suppressed.size(), 1U);
  EXPECT_EQ(suppressed[0].count, 10'000 - lines);
}

TEST(LogLimiter, TellsRefusalsApartByTheirReasonsAndNotByTheirDetails) {
  LogLimiter limiter;
  const std::string refused = "upgrade refused with 401 unauthenticated: ";
  EXPECT_EQ(allowed(limiter, 60, refused + "there is no token (client ::1)", LogLevel::debug),
            kLines);
  std::uint64_t lines = 0;
  for (int i = 0; i < 60; ++i) {
    lines +=
        allowed(limiter, 1, refused + "the token has no key; kid \"" + std::to_string(i) + "\"",
                LogLevel::debug);
  }
  EXPECT_EQ(lines, kLines);
  // At other levels a reason may be anything.
  EXPECT_EQ(allowed(limiter, kLines, refused + "x"), kLines);
  EXPECT_EQ(allowed(limiter, 1, refused + "y"), 0U);
}

TEST(LogLimiter, BoundsTheReasonsOfOneEvent) {
  LogLimiter limiter;
  std::uint64_t lines = 0;
  for (int i = 0; i < 10'000; ++i) {
    lines += allowed(limiter, 1, "civetweb: port " + std::to_string(i), LogLevel::debug);
  }
  EXPECT_EQ(lines, LogLimiter::kMaxReasons + kLines);
  // They leave the others alone.
  EXPECT_EQ(allowed(limiter, 60, "error frame bad_json: x", LogLevel::debug), kLines);
}
