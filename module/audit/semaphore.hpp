// A semaphore with a timed wait, for the audit's writer.
#pragma once

#include <semaphore.h>

#include <chrono>

namespace waystation {

/// POSIX's, in RAII. Not std::counting_semaphore: until GCC 13 the timed wait of libstdc++ falls
/// back to polling with sleeps of up to 64 ms if its thread is preempted before it waits, and the
/// writer is a thread of low priority.
class Semaphore {
 public:
  using Clock = std::chrono::steady_clock;

  Semaphore() noexcept;
  ~Semaphore();
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  /// Any thread; takes no lock.
  void post() noexcept;

  /// Takes one post, at once if there was one before. False if there is none until `time`.
  bool wait_until(Clock::time_point time) noexcept;

 private:
  sem_t semaphore_;
};

}  // namespace waystation
