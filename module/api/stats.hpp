// The tables of statistics for waystation_stats, GET /healthz and GET /metrics.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "admission/refusal_codes.hpp"
#include "waystation/waystation.h"

namespace waystation {

/// A row for each field of waystation_stats, in its order.
std::span<const waystation_stat_info> stat_table() noexcept;

/// The value of a row's field.
std::uint64_t value_of(const waystation_stats& stats, const waystation_stat_info& info) noexcept;

/// A row for each waystation_counter, in its order.
std::span<const waystation_counter_info> counter_table() noexcept;

/// The values of a counter's label and their counts.
using LabelCounts = std::vector<std::pair<const char*, std::uint64_t>>;

/// Counts refusals by code. Any thread.
class RefusalCounts {
 public:
  void add(RefusalCode code) noexcept {
    counts_[static_cast<std::size_t>(code)].fetch_add(1, std::memory_order_relaxed);
  }

  /// The counts of the codes that `by` uses, by name. Throws std::bad_alloc.
  LabelCounts read(RefusedBy by) const;

 private:
  std::array<std::atomic<std::uint64_t>, kRefusalCodes.size()> counts_{};
};

}  // namespace waystation
