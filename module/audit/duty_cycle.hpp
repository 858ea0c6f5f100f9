// How the audit's writer shares the processors.
#pragma once

#include <chrono>

namespace waystation {

/// The work of one thread, with a pause after each period. A low priority alone does not keep the
/// thread out of the way of others: while it runs, its processor is not idle, and two threads that
/// could have a processor each share the other one. During a pause one of them moves over.
class DutyCycle {
 public:
  using Clock = std::chrono::steady_clock;

  /// Wall time of work, and of the pause, to which Linux adds a timer slack of 50 us (prctl(2),
  /// PR_SET_TIMERSLACK). A period of work is shorter than a message's way from sender to receiver
  /// on a busy machine. A pause need only be long enough for another thread to wake up.
  static constexpr std::chrono::microseconds kWork{200};
  static constexpr std::chrono::microseconds kPause{20};

  /// To be called between two pieces of work much shorter than a period. Sleeps if a period has
  /// passed since the last pause, and returns whether it did.
  bool pause_if_due(Clock::time_point now = Clock::now()) noexcept;

 private:
  Clock::time_point begin_{};  // of the period
};

}  // namespace waystation
