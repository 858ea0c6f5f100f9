// Lines for the embedder's log, on their way to the thread that runs its callbacks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reactor/mutex.hpp"
#include "waystation/waystation.h"

namespace waystation {

/// A bounded queue between those who log, on any thread, and a function that takes as long as it
/// likes.
class LogLines {
 public:
  using Function = void (*)(void* user_data, waystation_log_level level, const char* line);

  /// As many may wait. The library says little; more of it at once is one thing said over and over.
  static constexpr std::size_t kMaxLines = 256;

  /// `on_log` may be null: nothing is kept.
  LogLines(Function on_log, void* user_data) noexcept : on_log_(on_log), user_data_(user_data) {}

  /// Any thread; never waits for the function. Whether deliver() is due: false where nobody
  /// listens, or the line was counted as lost for want of room.
  bool add(waystation_log_level level, std::string_view line) noexcept;

  /// One thread: hands over what waits, and says what was lost before it. What the function throws
  /// is passed over.
  void deliver() noexcept;

  /// Any thread: how many were lost so far.
  std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  using Line = std::pair<waystation_log_level, std::string>;

  void hand_over(waystation_log_level level, const char* line) const noexcept;

  const Function on_log_;
  void* const user_data_;
  std::atomic<std::uint64_t> lost_ = 0;
  std::uint64_t lost_told_ = 0;  // of these; deliver()'s own
  std::atomic<bool> is_due_ = false;
  Mutex mutex_;
  std::vector<Line> lines_ WAYSTATION_GUARDED_BY(mutex_);
};

}  // namespace waystation
