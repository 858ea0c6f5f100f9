// Rows that found the audit's queue full, until a gap in the audit records them.
#pragma once

#include <atomic>
#include <cstdint>

#include "audit/audit_store.hpp"

namespace waystation {

/// Counts for one producer, the relay's thread, and one consumer, the audit's writer. It has no
/// mutex: the producer would wait for a writer of low priority.
class RowLoss {
 public:
  // ---- the producer

  /// A row of the time `at`, in ms since 1970, is lost.
  void add(std::int64_t at) noexcept;

  // ---- the consumer

  /// The loss that no gap records yet; `lost` is 0 if there is none. A row that is lost during the
  /// call may widen this gap's times, and is counted in the next one.
  AuditGap unrecorded() noexcept;
  /// The gap that unrecorded() returned last is committed.
  void mark_recorded(const AuditGap& gap) noexcept;

  // ---- any thread

  /// Rows lost since the start, and how many of them gaps record.
  std::int64_t count() const noexcept { return lost_.load(std::memory_order_acquire); }
  std::int64_t recorded() const noexcept { return recorded_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::int64_t> lost_ = 0;  // written last: who reads a count also reads its times
  std::atomic<std::int64_t> since_ = 0;
  std::atomic<std::int64_t> until_ = 0;
  std::atomic<std::int64_t> recorded_ = 0;  // written by the consumer
  std::int64_t recorded_until_ = 0;         // the consumer's own, like the next
  std::int64_t seen_until_ = 0;
};

}  // namespace waystation
