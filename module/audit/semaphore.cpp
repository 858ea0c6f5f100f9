#include "audit/semaphore.hpp"

#include <cerrno>
#include <ctime>

namespace waystation {

// sem_init() fails only for a value above SEM_VALUE_MAX, sem_destroy() and sem_post() only for what
// is not a semaphore. At SEM_VALUE_MAX posts a further one is not needed.
Semaphore::Semaphore() noexcept {
  (void)sem_init(&semaphore_, 0, 0);
}
Semaphore::~Semaphore() {
  (void)sem_destroy(&semaphore_);
}

void Semaphore::post() noexcept {
  (void)sem_post(&semaphore_);
}

bool Semaphore::wait_until(Clock::time_point time) noexcept {
  using namespace std::chrono;
  // std::chrono::steady_clock is CLOCK_MONOTONIC in libstdc++ and libc++.
  const auto since_boot = time.time_since_epoch();
  const auto whole = duration_cast<seconds>(since_boot);
  timespec until{};
  until.tv_sec = whole.count();
  until.tv_nsec = duration_cast<nanoseconds>(since_boot - whole).count();
  while (sem_clockwait(&semaphore_, CLOCK_MONOTONIC, &until) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

}  // namespace waystation
