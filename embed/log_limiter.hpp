// A rate limit for each kind of log line, so that no client can fill the log.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "embed/log.hpp"

namespace waystation::server {

/// Allows a number of lines of each kind per interval and counts the others. Lines have the same
/// kind if their level and their text before the first ':' are equal. At debug the reason after the
/// ':' counts too, up to its first ';' or '('. One thread.
class LogLimiter {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::uint64_t kLines = 50;
  static constexpr std::chrono::seconds kInterval{30};
  /// Further kinds in an interval share one limit, so that new kinds do not bypass it.
  static constexpr std::size_t kMaxKinds = 128;
  /// Further reasons of one event share one limit, so that an event with endless reasons does not
  /// use up the kinds.
  static constexpr std::ptrdiff_t kMaxReasons = 16;

  struct Suppressed {
    LogLevel level;
    std::string kind;
    std::uint64_t count;
  };

  /// Ends the intervals that are over at `now`, and returns the lines suppressed in them.
  std::vector<Suppressed> end_intervals(Clock::time_point now);

  /// Counts the line and returns whether it may be written. Only end_intervals() ends an interval.
  bool allows(LogLevel level, std::string_view text, Clock::time_point now);

 private:
  struct Kind {
    LogLevel level;
    std::string name;
    Clock::time_point began;
    std::uint64_t lines;
  };

  std::vector<Kind> kinds_;  // with at least one line in the current interval
};

}  // namespace waystation::server
