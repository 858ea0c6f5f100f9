// Times and counts in the audit's files and log lines.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace waystation {

inline constexpr std::int64_t kMsPerDay = 86'400'000;

/// Milliseconds since 1970.
inline std::int64_t wall_ms() noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

inline std::string rows_text(std::uint64_t rows) {
  return std::to_string(rows) + (rows == 1 ? " row" : " rows");
}

}  // namespace waystation
