// The audit's writer thread: takes rows from the inbox and commits them to the file.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "audit/audit_inbox.hpp"
#include "audit/audit_options.hpp"
#include "audit/audit_retention.hpp"
#include "audit/audit_run_file.hpp"
#include "audit/audit_status.hpp"
#include "audit/audit_store.hpp"
#include "audit/duty_cycle.hpp"

namespace waystation {

/// Everything here belongs to one thread: the one that constructs it and calls start(), then the
/// one that calls run(). A fault of the disk never ends it: rows wait, and the file is tried again.
class AuditWriter {
 public:
  /// Touches no file. What the references name must outlive the writer.
  AuditWriter(const AuditOptions& options, std::string path, std::string node, AuditInbox& inbox,
              AuditStatus& status);

  /// Acquires the run file and opens the audit once, so that a mistake is reported at the start. A
  /// fault that may pass is none. Throws AuditRefused or std::bad_alloc, and has then no effect.
  void start();
  /// Undoes start() if no thread could be made: no row has come, so none is missing.
  void cancel() noexcept;

  /// The thread. Returns after a stop was requested and the queue is empty, the file is faulty, or
  /// the deadline has passed.
  void run() noexcept;

  /// Any thread.
  AuditRetention& retention() noexcept { return retention_; }

 private:
  using Clock = std::chrono::steady_clock;

  // The thread's loop.
  bool wait_for_work();
  void gather_rows();
  void work() noexcept;
  void write_batch();
  void run_retention();
  void close() noexcept;
  void update_waiting_since() noexcept;
  void pause_if_due() noexcept;
  std::int64_t max_wal_bytes() const noexcept;

  // Runs and files.
  void acquire_run_file();
  void begin_run(AuditStore& store);
  void open();
  void reopen_if_moved();
  void recover_wal();
  void add_missing_since(std::int64_t since) noexcept;

  // Faults. `describe_fault` returns a sentence.
  template <typename Describe>
  void enter_fault(AuditState state, Describe describe_fault) noexcept;
  void leave_fault() noexcept;
  void set_aside_damaged(const SqliteError& damage) noexcept;

  /// Logs what `line` returns. A line that cannot be built or logged must not end the audit.
  template <typename Line>
  void log(AuditLogLevel level, Line line) const noexcept {
    if (!options_.log) return;
    try {
      options_.log(level, line());
    } catch (...) {
    }
  }

  const AuditOptions& options_;
  const std::string path_;
  const std::string node_;
  const std::int64_t started_at_;
  AuditInbox& inbox_;
  AuditStatus& status_;
  AuditRetention retention_;
  AuditRunFile run_file_;
  std::unique_ptr<AuditStore> store_;  // null: the file is not open
  DutyCycle duty_cycle_;
  bool was_opened_ = false;  // in this run
  bool is_faulty_ = false;
  bool has_more_ = false;  // a batch was full, or must be written again
  // Rows are missing since then; the next file that is opened gets a gap from then to now.
  std::optional<std::int64_t> missing_since_;
  Clock::time_point retry_at_{};
  Clock::time_point next_checkpoint_{};
  Clock::time_point next_set_aside_{};
};

}  // namespace waystation
