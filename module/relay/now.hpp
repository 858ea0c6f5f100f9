// The time as the relay's code gets it: an argument, never a clock.
#pragma once

#include <cstdint>

namespace waystation {

/// The time of one round of events. Both clocks are read once per round.
struct Now {
  std::int64_t wall_ms = 0;    // ms since 1970, for timestamps
  std::int64_t steady_ms = 0;  // ms of a clock that never steps, for intervals
};

}  // namespace waystation
