// Which rows leave the file: those that are too old, and the oldest of a file that is too large.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "audit/audit_store.hpp"

namespace waystation {

/// The limits may be changed by any thread; everything else belongs to the writer.
class AuditRetention {
 public:
  using Clock = std::chrono::steady_clock;

  /// `should_stop` is asked between two steps; it must not throw.
  AuditRetention(std::uint32_t days, std::uint64_t max_bytes, std::function<bool()> should_stop);

  // ---- any thread

  /// 0 switches a limit off.
  void set_limits(std::uint32_t days, std::uint64_t max_bytes) noexcept;
  /// How far back the rows of a file may go, in ms since 1970; 0: without a limit.
  std::int64_t oldest_kept() const noexcept;
  /// Size limit of the file in bytes; 0: none.
  std::int64_t max_bytes() const noexcept;

  // ---- the writer. Each function throws SqliteError.

  /// Within a batch of `rows` new rows, deletes at least as many of those that must go, so that a
  /// steady load does not outrun the limits. To be called between begin() and commit().
  void make_space(AuditStore& store, std::size_t rows);
  /// One small step, between two batches. Returns true if it completed work that took several
  /// steps; a checkpoint then makes the file smaller.
  bool run_step(AuditStore& store);
  /// Whether run_step() has more to do at once.
  bool has_work() const noexcept { return is_over_size_ || has_expired_ || has_free_pages_; }

 private:
  bool is_over_size(AuditStore& store);
  void delete_oldest(AuditStore& store, std::size_t rows);
  void delete_expired(AuditStore& store, std::size_t rows);
  void release_pages(AuditStore& store);

  const std::function<bool()> should_stop_;
  std::atomic<std::uint32_t> days_;
  std::atomic<std::uint64_t> max_bytes_;
  std::atomic<bool> is_changed_ = false;  // the writer has not seen the limits yet

  bool is_over_size_ = false;
  bool has_expired_ = false;     // the last step left some
  bool has_free_pages_ = false;  // the last step released some, and there may be more
  Clock::time_point next_age_check_{};
};

}  // namespace waystation
