#include "audit/work_turns.hpp"

#include <ctime>

namespace waystation {

bool WorkTurns::rest_if_due(Clock::time_point now) noexcept {
  if (now - begin_ < kTurn) return false;
  const timespec rest{0, std::chrono::nanoseconds(kRest).count()};
  nanosleep(&rest, nullptr);  // a signal makes it shorter, which does no harm
  begin_ = Clock::now();
  return true;
}

}  // namespace waystation
