#include "audit/row_loss.hpp"

#include <algorithm>

namespace waystation {
namespace {

void add_rows(AuditGap& gap, const AuditGap& rows) noexcept {
  const bool is_first = gap.lost == 0;
  gap.since = is_first ? rows.since : std::min(gap.since, rows.since);
  gap.until = is_first ? rows.until : std::max(gap.until, rows.until);
  gap.lost += rows.lost;
}

}  // namespace

void RowLoss::add(std::int64_t at) noexcept {
  // First: rows are counted before a gap can record them.
  lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  auto* gap = waiting_.exchange(nullptr, std::memory_order_acquire);
  if (gap == nullptr) {
    // The consumer took the last gap. It read the one before that earlier, so that one is free.
    gap = &gaps_[next_gap_];
    next_gap_ = 1 - next_gap_;
    *gap = {};
  }
  add_rows(*gap, {at, at, 1});
  waiting_.store(gap, std::memory_order_release);
}

AuditGap RowLoss::unrecorded() noexcept {
  // Acquire: the rows. Release: the reads of the gap before, which the producer will reuse.
  const auto* gap = waiting_.exchange(nullptr, std::memory_order_acq_rel);
  if (gap != nullptr) add_rows(taken_, *gap);
  return taken_;
}

void RowLoss::mark_recorded(const AuditGap& gap) noexcept {
  if (gap.lost == 0) return;
  taken_ = {};
  recorded_.fetch_add(gap.lost, std::memory_order_release);
}

}  // namespace waystation
