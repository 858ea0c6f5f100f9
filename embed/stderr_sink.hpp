// The output of the log.
#pragma once

#include <spdlog/sinks/base_sink.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string_view>

namespace waystation::server {

/// Writes to standard error without blocking. If a pipe or the journal is full, lines are dropped,
/// so that no thread waits. The next line that can be written is preceded by their number.
class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  /// Maximum wait for one line. After a line was dropped, the following lines do not wait.
  static constexpr std::chrono::milliseconds kWriteTimeout{100};

 private:
  void sink_it_(const spdlog::details::log_msg& message) override;
  void flush_() override {}
  bool write(const spdlog::details::log_msg& message, std::chrono::milliseconds timeout);

  // Guarded by the base's mutex.
  std::uint64_t lost_ = 0;
  bool is_partial_ = false;  // the last line was written without its end
};

}  // namespace waystation::server
