// The queue of log lines for the host application's on_log callback.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "waystation/waystation.h"

namespace waystation {

/// A bounded queue from any thread to a callback that may be slow.
class LogLines {
 public:
  using Function = void (*)(void* user_data, waystation_log_level level, const char* line);

  /// Capacity. The library logs little, so a full queue usually holds the same line many times.
  static constexpr std::size_t kMaxLines = 256;

  /// If `on_log` is null, add() does nothing.
  LogLines(Function on_log, void* user_data) noexcept : on_log_(on_log), user_data_(user_data) {}

  /// Adds a line. Any thread; never waits for the callback. Returns whether deliver() must be
  /// called: false without a callback, or if the queue is full and the line is lost.
  bool add(waystation_log_level level, std::string_view line) noexcept;

  /// Passes all lines to the callback, and first a line with the number of lost lines. Ignores
  /// exceptions of the callback. One thread.
  void deliver() noexcept;

  /// The number of lost lines. Any thread.
  std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  using Line = std::pair<waystation_log_level, std::string>;

  void hand_over(waystation_log_level level, const char* line) const noexcept;

  const Function on_log_;
  void* const user_data_;
  std::atomic<std::uint64_t> lost_ = 0;
  std::uint64_t lost_reported_ = 0;  // used by deliver() only
  std::atomic<bool> is_due_ = false;
  Mutex mutex_;
  std::vector<Line> lines_ WAYSTATION_GUARDED_BY(mutex_);
};

}  // namespace waystation
