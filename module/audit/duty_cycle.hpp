// How the audit's writer shares the processors.
#pragma once

#include <chrono>

namespace waystation {

/// Pauses a thread after each period of work. A low priority alone is not enough: while the thread
/// runs, its processor is not idle, so two other threads may share another processor. During a
/// pause the scheduler can move one of them.
class DutyCycle {
 public:
  using Clock = std::chrono::steady_clock;

  /// Wall time of work and pause. Linux adds a timer slack of 50 us to the pause (prctl(2),
  /// PR_SET_TIMERSLACK). A period of work is shorter than the latency of a message on a busy
  /// machine. A pause is just long enough for another thread to wake up.
  static constexpr std::chrono::microseconds kWork{200};
  static constexpr std::chrono::microseconds kPause{20};

  /// Call it between pieces of work that are much shorter than a period. Sleeps if a period has
  /// passed since the last pause, and returns whether it did.
  bool pause_if_due(Clock::time_point now = Clock::now()) noexcept;

 private:
  Clock::time_point begin_{};  // of the period
};

}  // namespace waystation
