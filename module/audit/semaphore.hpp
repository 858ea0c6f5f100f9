// A semaphore with a timed wait, for the audit's writer.
#pragma once

#include <semaphore.h>

#include <chrono>

namespace waystation {

/// An RAII wrapper of sem_t. std::counting_semaphore is too slow here: until GCC 13 its timed wait
/// polls with sleeps of up to 64 ms if the thread is preempted before it waits. The writer has a
/// low priority, so that is frequent.
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
