// The log: one line per event, on standard error.
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

/// Escapes control characters, so that data from a client can neither start a log line nor control
/// a terminal. Invalid UTF-8 is replaced. With `json`, the result is the inside of a JSON string.
std::string escape_for_log(std::string_view text, bool json);

/// Writes one line to standard error, for fatal errors outside of a Log's lifetime. Adds the error
/// priority if standard error is the journal.
void write_final_line(std::string_view text);

/// Writes events at or above its level. Any thread.
///
/// Clients can cause events at any rate, so LogLimiter limits the lines of each kind. A line
/// reports the number of suppressed lines. A line is dropped if memory runs out.
class Log {
 public:
  /// Writes to standard error.
  Log(LogLevel level, bool json);
  /// Reports suppressed lines that were not reported yet.
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Other threads may write at the same time.
  void configure(LogLevel level, bool json);

  void write(LogLevel level, std::string_view text) noexcept;

  /// Whether write() writes lines of this level. Any thread.
  bool writes(LogLevel level) const noexcept;

  /// Reports the suppressed lines of every interval that is over. write() does so too; call this
  /// regularly in case nothing is written.
  void report_suppressed() noexcept;

  void error(std::string_view text) noexcept { write(LogLevel::error, text); }
  void warning(std::string_view text) noexcept { write(LogLevel::warning, text); }
  void info(std::string_view text) noexcept { write(LogLevel::info, text); }
  void debug(std::string_view text) noexcept { write(LogLevel::debug, text); }

 private:
  struct Sink;

  void report_suppressed(std::chrono::steady_clock::time_point now) noexcept;
  void write_unlimited(LogLevel level, std::string_view text);

  std::unique_ptr<Sink> sink_;
};

}  // namespace waystation::server
