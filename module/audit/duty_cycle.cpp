#include "audit/duty_cycle.hpp"

#include <ctime>

namespace waystation {

bool DutyCycle::pause_if_due(Clock::time_point now) noexcept {
  if (now - begin_ < kWork) return false;
  const timespec pause{0, std::chrono::nanoseconds(kPause).count()};
  (void)nanosleep(&pause, nullptr);  // a signal makes it shorter, which does no harm
  begin_ = Clock::now();
  return true;
}

}  // namespace waystation
