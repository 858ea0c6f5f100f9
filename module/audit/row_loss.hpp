// What the audit's queue had no room for, until a row says so.
#pragma once

#include <atomic>
#include <cstdint>

#include "audit/audit_store.hpp"

namespace waystation {

/// Counts for one producer, the relay's thread, and one consumer, the audit's writer. No mutex: the
/// producer would wait for a writer that gives way to everybody.
class RowLoss {
 public:
  // ---- the producer

  /// A row of the time `at`, in ms since 1970, is lost.
  void add(std::int64_t at) noexcept;

  // ---- the consumer

  /// What was lost and is not settled; `lost` 0: nothing. Where more is lost meanwhile, its times
  /// may be in it already, and are in the next one, too.
  AuditGap unsettled() noexcept;
  /// A row says so: `gap` is what unsettled() returned last.
  void settle(const AuditGap& gap) noexcept;

  // ---- any thread

  /// Rows since the beginning, and how many of them are settled.
  std::int64_t count() const noexcept { return lost_.load(std::memory_order_acquire); }
  std::int64_t settled() const noexcept { return settled_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::int64_t> lost_ = 0;  // written last: who sees a count sees its times
  std::atomic<std::int64_t> since_ = 0;
  std::atomic<std::int64_t> until_ = 0;
  std::atomic<std::int64_t> settled_ = 0;  // the consumer's
  std::int64_t settled_until_ = 0;         // the consumer's own, like the next
  std::int64_t seen_until_ = 0;
};

}  // namespace waystation
