// Where the log's lines go.
#pragma once

#include <spdlog/sinks/base_sink.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string_view>

namespace waystation::server {

/// Standard error, as far as somebody reads it. Behind a pipe or a journal that no longer takes
/// anything, lines are lost, rather than that all who write one stand still; the first that is
/// taken again says how many they were.
class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  /// How long one line may wait; those after one that waited in vain do not wait at all.
  static constexpr std::chrono::milliseconds kPatience{100};

 private:
  void sink_it_(const spdlog::details::log_msg& message) override;
  void flush_() override {}
  bool write(const spdlog::details::log_msg& message, std::chrono::milliseconds patience);

  // Guarded by the base's mutex.
  std::uint64_t lost_ = 0;
  bool is_torn_ = false;  // the last line stands there without its end
};

}  // namespace waystation::server
