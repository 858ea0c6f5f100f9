#include "audit/row_loss.hpp"

#include <algorithm>

namespace waystation {

void RowLoss::add(std::int64_t at) noexcept {
  const auto lost = lost_.load(std::memory_order_relaxed);
  const bool is_first = lost == recorded();
  const auto since = since_.load(std::memory_order_relaxed);
  const auto until = until_.load(std::memory_order_relaxed);
  since_.store(is_first ? at : std::min(since, at), std::memory_order_relaxed);
  until_.store(is_first ? at : std::max(until, at), std::memory_order_relaxed);
  lost_.store(lost + 1, std::memory_order_release);
}

AuditGap RowLoss::unrecorded() noexcept {
  // Read first: a row that is not in the count below came no earlier.
  seen_until_ = until_.load(std::memory_order_acquire);
  AuditGap gap;
  gap.lost = count() - recorded_.load(std::memory_order_relaxed);
  gap.since = since_.load(std::memory_order_relaxed);
  gap.until = until_.load(std::memory_order_relaxed);
  // Rows lost since the last gap are later than it, unless the clock was set back.
  if (recorded_until_ <= gap.until) gap.since = std::max(gap.since, recorded_until_);
  return gap;
}

void RowLoss::mark_recorded(const AuditGap& gap) noexcept {
  if (gap.lost == 0) return;
  recorded_until_ = seen_until_;
  recorded_.fetch_add(gap.lost, std::memory_order_release);
}

}  // namespace waystation
