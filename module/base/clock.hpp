// The wall clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace waystation {

/// Milliseconds since 1970-01-01 UTC.
inline std::int64_t wall_clock_ms() noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace waystation
