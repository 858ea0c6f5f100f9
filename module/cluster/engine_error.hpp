// What the log says about the errors of an engine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace waystation {

/// `error` is the text of an error reply, such as "OOM command not allowed …". Returns a clause for
/// a log line: the text in quotes, and what an operator can do. At most 160 characters of the text
/// are shown, without the arguments of the command, which some errors repeat, and without names of
/// channels and keys. Throws std::bad_alloc.
std::string describe_engine_error(std::string_view error);

/// Keeps an error that comes again and again from filling the log.
class EngineErrorLog {
 public:
  static constexpr std::int64_t kIntervalMs = 60'000;
  /// Errors with an advice of their own, and all others.
  static constexpr std::size_t kKinds = 6;

  EngineErrorLog() noexcept { next_ms_.fill(std::numeric_limits<std::int64_t>::min()); }

  /// Whether a line about `error` is due at `now_ms`. If so, the next one about an error of this
  /// kind is due after kIntervalMs.
  bool take(std::string_view error, std::int64_t now_ms) noexcept;

 private:
  std::array<std::int64_t, kKinds> next_ms_;
};

/// Keeps a connection that fails again and again from filling the log.
class ConnectionProblemLog {
 public:
  static constexpr std::int64_t kIntervalMs = EngineErrorLog::kIntervalMs;
  /// The most lines in that time.
  static constexpr unsigned kMaxLines = 5;

  /// Whether a line about `problem` is due at `now_ms`: it is not the last one that was logged, or
  /// that was long ago. Throws std::bad_alloc; no line is due then.
  bool take(std::string_view problem, std::int64_t now_ms);
  /// The connection works again.
  void reset() noexcept { interval_end_ms_ = std::numeric_limits<std::int64_t>::min(); }

 private:
  std::int64_t interval_end_ms_ = std::numeric_limits<std::int64_t>::min();
  unsigned lines_ = 0;  // in this interval
  std::string last_;    // of them
};

}  // namespace waystation
