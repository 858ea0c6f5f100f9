#include "audit/wake_up.hpp"

#include <cerrno>
#include <ctime>

namespace waystation {

// Neither can fail: the value is no more than may be, and nobody waits at the end.
WakeUp::WakeUp() noexcept {
  sem_init(&semaphore_, 0, 0);
}
WakeUp::~WakeUp() {
  sem_destroy(&semaphore_);
}

void WakeUp::wake() noexcept {
  sem_post(&semaphore_);
}

bool WakeUp::sleep_until(Clock::time_point time) noexcept {
  using namespace std::chrono;
  const auto since_boot = time.time_since_epoch();
  const auto whole = duration_cast<seconds>(since_boot);
  timespec until{};
  until.tv_sec = whole.count();
  until.tv_nsec = duration_cast<nanoseconds>(since_boot - whole).count();
  // The steady clock is this one, with libstdc++ and libc++ alike.
  while (sem_clockwait(&semaphore_, CLOCK_MONOTONIC, &until) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

}  // namespace waystation
