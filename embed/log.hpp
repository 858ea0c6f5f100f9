// The log: one line an event, to standard error.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace waystation::server {

enum class LogLevel { error, warning, info, debug };

/// Reads "error", "warning", "info" or "debug"; anything else counts as info.
LogLevel parse_log_level(std::string_view text);

/// A log line in its final form but for the time: control characters are escaped, so that what a
/// client sent can neither begin a line of its own nor steer a terminal. With `json` as the inside
/// of a JSON string, bytes that are no UTF-8 replaced.
std::string escape_for_log(std::string_view text, bool json);

/// Writes, as text, why a run ends of which there is no log (yet): one line on standard error,
/// with the priority of an error where that is the journal.
void write_final_line(std::string_view text);

/// Writes events at or above its level. Any thread.
///
/// Strangers cause some of them, as fast as they like: of what begins alike only so many are
/// written in a time (LogLimiter), and a line says how many were left out. A line that there is no
/// memory for is left out, too.
class Log {
 public:
  /// Writes to standard error.
  Log(LogLevel level, bool json);
  /// Says what is left to be said of lines that were left out.
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Legal while other threads write.
  void configure(LogLevel level, bool json);

  void write(LogLevel level, std::string_view text) noexcept;

  /// Says how many lines were left out, once that can be said. write() does so too, where anything
  /// is written; to be called every now and then for when nothing is.
  void settle() noexcept;

  void error(std::string_view text) noexcept { write(LogLevel::error, text); }
  void warning(std::string_view text) noexcept { write(LogLevel::warning, text); }
  void info(std::string_view text) noexcept { write(LogLevel::info, text); }
  void debug(std::string_view text) noexcept { write(LogLevel::debug, text); }

 private:
  struct Sink;

  void settle(std::chrono::steady_clock::time_point now) noexcept;
  void write_unlimited(LogLevel level, std::string_view text);

  std::unique_ptr<Sink> sink_;
};

}  // namespace waystation::server
