// Counts in the audit's log lines.
#pragma once

#include <cstdint>
#include <string>

namespace waystation {

inline std::string rows_text(std::uint64_t rows) {
  return std::to_string(rows) + (rows == 1 ? " row" : " rows");
}

}  // namespace waystation
