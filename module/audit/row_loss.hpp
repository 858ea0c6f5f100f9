// Rows that found the audit's queue full, until a gap in the audit records them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "audit/audit_store.hpp"

namespace waystation {

/// Counts for one producer, the relay's thread, and one consumer, the audit's writer. Neither waits
/// for the other: the writer has a low priority, and may be preempted at any point.
class RowLoss {
 public:
  // ---- the producer

  /// A row of the time `at`, in ms since 1970, is lost. The times need not ascend: a dropped row
  /// has the time of its message.
  void add(std::int64_t at) noexcept;

  // ---- the consumer

  /// The loss that no gap records yet, with the times of exactly these rows; `lost` is 0 if there
  /// is none. A row that is lost during the call may be in the next gap instead.
  AuditGap unrecorded() noexcept;
  /// The gap that unrecorded() returned last is committed.
  void mark_recorded(const AuditGap& gap) noexcept;

  // ---- any thread

  /// Rows lost since the start, and how many of them gaps record.
  std::int64_t count() const noexcept { return lost_.load(std::memory_order_acquire); }
  std::int64_t recorded() const noexcept { return recorded_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::int64_t> lost_ = 0;      // written by the producer
  std::atomic<std::int64_t> recorded_ = 0;  // written by the consumer
  // Rows that the consumer has not taken. Null: there are none, or the producer is adding one.
  std::atomic<AuditGap*> waiting_ = nullptr;
  // The producer's; the consumer reads the one that it took from waiting_.
  std::array<AuditGap, 2> gaps_;
  std::size_t next_gap_ = 0;  // the producer's
  AuditGap taken_;            // the consumer's: taken from waiting_ and not recorded
};

}  // namespace waystation
