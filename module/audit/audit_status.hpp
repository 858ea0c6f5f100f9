// The audit's state and counters: written by the writer, read by any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "audit/audit_inbox.hpp"
#include "audit/audit_state.hpp"
#include "base/mutex.hpp"

namespace waystation {

struct AuditStats {
  AuditState state = AuditState::starting;
  std::uint64_t rows_written = 0;  // committed
  std::uint64_t rows_lost = 0;  // the queue was full, or they could not be written before the end
  std::uint64_t rows_waiting = 0;
  std::uint64_t lag_ms = 0;      // age of the oldest waiting row
  std::uint64_t file_bytes = 0;  // on the disk, with the WAL
};

struct AuditHealth {
  AuditState state = AuditState::starting;
  std::string fault;  // a sentence; empty if there is none
};

class AuditStatus {
 public:
  // ---- the writer

  /// Returns the state until now. `fault` is empty for AuditState::ok.
  AuditState set_state(AuditState state, std::string fault) noexcept;
  void count_written(std::uint64_t rows) noexcept;
  /// Rows that still waited when the audit ended.
  void count_abandoned(std::uint64_t rows) noexcept;
  void set_file_bytes(std::uint64_t bytes) noexcept;
  /// Time of the oldest row in the queue, in ms since 1970; 0: there is none.
  void set_waiting_since(std::int64_t at) noexcept;

  // ---- any thread

  AuditState state() const noexcept;
  std::uint64_t rows_lost(const AuditInbox& inbox) const noexcept;
  AuditStats read(const AuditInbox& inbox) const noexcept;
  /// Throws std::bad_alloc.
  AuditHealth health() const;

 private:
  mutable Mutex mutex_;  // held for a move or a copy only
  AuditState state_ WAYSTATION_GUARDED_BY(mutex_) = AuditState::starting;
  std::string fault_ WAYSTATION_GUARDED_BY(mutex_);
  std::atomic<std::uint64_t> rows_written_ = 0;
  std::atomic<std::uint64_t> rows_abandoned_ = 0;
  std::atomic<std::uint64_t> file_bytes_ = 0;
  std::atomic<std::int64_t> waiting_since_ = 0;
};

}  // namespace waystation
