// How the audit's writer is woken.
#pragma once

#include <semaphore.h>

#include <chrono>

namespace waystation {

/// One thread sleeps, any thread wakes it. Unlike a condition there is no mutex between them: who
/// sleeps here has a low priority, and would keep everybody waiting where it is stopped while it
/// holds one.
class WakeUp {
 public:
  using Clock = std::chrono::steady_clock;

  WakeUp() noexcept;
  ~WakeUp();
  WakeUp(const WakeUp&) = delete;
  WakeUp& operator=(const WakeUp&) = delete;

  /// Any thread; also good for a sleep that is yet to begin.
  void wake() noexcept;

  /// The one thread. False: it was not woken until `time`.
  bool sleep_until(Clock::time_point time) noexcept;

 private:
  sem_t semaphore_;
};

}  // namespace waystation
