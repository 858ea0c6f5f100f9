// The log: one line an event, to standard error.
#pragma once

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

/// Writes events at or above its level. Any thread.
class Log {
 public:
  /// Writes to standard error.
  Log(LogLevel level, bool json);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Legal while other threads write.
  void configure(LogLevel level, bool json);

  void write(LogLevel level, std::string_view text);
  void error(std::string_view text) { write(LogLevel::error, text); }
  void warning(std::string_view text) { write(LogLevel::warning, text); }
  void info(std::string_view text) { write(LogLevel::info, text); }
  void debug(std::string_view text) { write(LogLevel::debug, text); }

 private:
  struct Sink;
  std::unique_ptr<Sink> sink_;
};

}  // namespace waystation::server
