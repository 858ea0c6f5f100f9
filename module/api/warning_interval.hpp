// How often a warning is logged whose cause others can repeat.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>

namespace waystation {

/// Lets one warning a minute through. Any thread.
class WarningInterval {
 public:
  using Clock = std::chrono::steady_clock;  // the wall clock may be set back by hours
  static constexpr std::chrono::minutes kLength{1};

  /// Whether the next warning is due; if so, the following one is due a minute after `now`.
  bool is_due(Clock::time_point now = Clock::now()) noexcept {
    auto due_at = due_at_.load(std::memory_order_relaxed);
    return now.time_since_epoch() >= Clock::duration(due_at) &&
           due_at_.compare_exchange_strong(due_at, (now + kLength).time_since_epoch().count(),
                                           std::memory_order_relaxed);
  }

 private:
  // The clock may begin when the machine starts.
  std::atomic<Clock::rep> due_at_ = std::numeric_limits<Clock::rep>::min();
};

}  // namespace waystation
