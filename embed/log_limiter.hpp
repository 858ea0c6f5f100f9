// How many lines of a kind the log takes, so that nobody can fill it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "embed/log.hpp"

namespace waystation::server {

/// Of each kind of line a number in an interval; what comes beyond it is counted. Lines are of one
/// kind where they begin alike, up to the first ':', and have one level. At debug the reason after
/// the
/// ':' counts too, up to its first ';' or '('. One thread.
class LogLimiter {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::uint64_t kLines = 50;
  static constexpr std::chrono::seconds kInterval{30};
  /// Kinds beyond these in an interval share one number: new ones must not be a way around it.
  static constexpr std::size_t kMaxKinds = 128;
  /// Reasons of one event beyond these share one number, so that an event whose reasons vary
  /// without end does not use up the kinds.
  static constexpr std::ptrdiff_t kMaxReasons = 16;

  struct LeftOut {
    LogLevel level;
    std::string kind;
    std::uint64_t count;
  };

  /// What was left out of the kinds whose interval is over by `now`. They begin a new one.
  std::vector<LeftOut> settle(Clock::time_point now);

  /// Whether the line may be written; counts it. Only settle() ends a kind's interval.
  bool allows(LogLevel level, std::string_view text, Clock::time_point now);

 private:
  struct Kind {
    LogLevel level;
    std::string name;
    Clock::time_point began;
    std::uint64_t lines;
  };

  std::vector<Kind> kinds_;  // of which there was a line in their interval
};

}  // namespace waystation::server
