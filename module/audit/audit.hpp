// Who was sent what when and what became of it, kept in a file; never what it said.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "audit/audit_run_file.hpp"
#include "audit/audit_state.hpp"
#include "audit/audit_store.hpp"
#include "audit/row_loss.hpp"
#include "audit/row_queue.hpp"
#include "audit/wake_up.hpp"
#include "audit/work_turns.hpp"
#include "relay/observer.hpp"

namespace waystation {

enum class AuditLogLevel : std::uint8_t { error, warning, info };

struct AuditOptions {
  std::string file;
  std::string node;                    // which of several writers this is; empty: the host's name
  std::uint32_t retention_days = 30;   // 0: whatever the age
  std::uint64_t max_bytes = 64 << 20;  // of the file; 0: whatever the size
  // Called on the writer's thread, and in the constructor; must not throw.
  std::function<void(AuditLogLevel, const std::string&)> log;

  std::size_t queue_bytes = 16 << 20;
  // Rows wait so long for others to be committed with; a second, while more than a thousand come in
  // this time. What is lost at a sudden end is at most what came since, and until the commit is
  // made.
  std::chrono::milliseconds batch_interval{100};
  std::chrono::milliseconds retry_interval{500};  // after a fault
  // How often a writer with nothing to do looks whether its file is still there.
  std::chrono::milliseconds idle_interval{1000};
  // The log may always grow as long while others read; a quarter of max_bytes if that is more,
  // and four times as long where that is 0.
  std::int64_t log_bytes = std::int64_t{64} << 20;
};

/// Whether a node may be called so: 1 to 64 of the characters A-Z, a-z, 0-9, '.', '_' and '-'.
bool is_audit_node(std::string_view text) noexcept;

struct AuditFigures {
  AuditState state = AuditState::starting;
  std::string fault;               // in a sentence; empty where there is none
  std::uint64_t rows_written = 0;  // committed
  std::uint64_t rows_lost = 0;     // the queue was full, or the end came before they were written
  std::uint64_t rows_waiting = 0;
  std::uint64_t lag_ms = 0;      // how old the oldest waiting row is
  std::uint64_t file_bytes = 0;  // on the disk, with its log
};

/// Whatever happens to the disk, on_delivery() takes no longer than a copy of some names. Rows that
/// cannot be written wait; those that find the queue full are counted, and a row of its own says
/// how many are missing and from when to when.
class Audit final : public Observer {
 public:
  /// Throws AuditRefused (the file is a link, another's, a newer program's, …), std::system_error
  /// or std::bad_alloc. Everything that may pass by itself is a fault, and no reason not to start.
  explicit Audit(AuditOptions options);
  /// stop().
  ~Audit();
  Audit(const Audit&) = delete;
  Audit& operator=(const Audit&) = delete;

  /// What the constructor would refuse; touches nothing. Throws AuditRefused.
  static void check(const std::string& file);

  // ---- one thread, the relay's

  void on_delivery(const Delivery& delivery) noexcept override;
  void on_error_sent(ErrorCode) noexcept override {}

  // ---- any thread

  /// Waits until all that was told before is committed. False where it was not, within `deadline`.
  bool flush(std::chrono::milliseconds deadline);

  void set_retention(std::uint32_t days, std::uint64_t max_bytes) noexcept;

  AuditFigures figures() const;

  /// The path as it is used, its folder's links followed.
  const std::string& path() const noexcept { return path_; }

  /// Writes what waits, as far as that is possible at once and within `deadline`, and ends the
  /// thread; the rest is counted as lost, and the next run's first row says so. on_delivery() may
  /// no longer be called. Legal twice, one call at a time. It takes longer only where the disk does
  /// not come back from a call.
  void stop(std::chrono::milliseconds deadline = std::chrono::milliseconds(1000));

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr Clock::time_point kNever = Clock::time_point::max();

  void start();
  void run() noexcept;
  template <typename Wanted>
  bool sleep_until(std::unique_lock<std::mutex>& lock, Clock::time_point time, Wanted is_wanted);
  bool wait_for_work(std::unique_lock<std::mutex>& lock);
  void gather(std::unique_lock<std::mutex>& lock);
  void work() noexcept;
  void take_run_file();
  void begin_run(AuditStore& store);
  void withdraw_run() noexcept;
  void open();
  void reopen_if_moved();
  void rescue_log();
  void owe(std::int64_t since) noexcept;
  std::int64_t oldest_kept() const noexcept;
  void write_batch();
  void note_waiting() noexcept;
  bool is_late() const noexcept;
  void rest_if_due() noexcept;
  bool is_over_size();
  void retire_oldest(std::size_t rows);
  void retire_old(std::size_t rows);
  void tidy();
  void close() noexcept;
  bool has_loss() const noexcept { return loss_.count() != loss_.settled(); }
  std::uint64_t rows_lost() const noexcept;
  bool is_locked() const noexcept;
  /// `what` returns the fault in words.
  template <typename What>
  void fault(AuditState state, What what) noexcept;
  void recover() noexcept;
  void set_aside_damaged(const SqliteError& damage) noexcept;
  std::int64_t max_log_bytes() const noexcept;
  /// Logs what `line` returns. A log that cannot be written, or a line that there is no memory for,
  /// must not end the audit.
  template <typename Line>
  void say(AuditLogLevel level, Line line) const noexcept {
    if (!options_.log) return;
    try {
      options_.log(level, line());
    } catch (...) {
    }
  }

  const AuditOptions options_;
  const std::string path_;
  const std::string node_;
  const std::int64_t started_at_;
  AuditRunFile run_file_;  // the constructor's, then the writer's
  RowQueue queue_;
  std::atomic<std::uint32_t> retention_days_;
  std::atomic<std::uint64_t> max_bytes_;
  std::atomic<bool> is_retention_new_ = false;  // the writer has not looked at them yet

  RowLoss loss_;                             // what the queue had no room for
  std::atomic<std::uint64_t> given_up_ = 0;  // rows that still waited at the end

  std::atomic<std::uint64_t> rows_written_ = 0;
  std::atomic<std::int64_t> waiting_since_ =
      0;  // ms since 1970; 0: the writer has seen no row wait
  std::atomic<std::uint64_t> file_bytes_ = 0;
  mutable std::mutex fault_mutex_;  // guards state_ and fault_
  AuditState state_ = AuditState::starting;
  std::string fault_;

  // Set by the writer before it sleeps because nothing is there; the first row wakes it.
  std::atomic<bool> is_asleep_ = false;
  WakeUp wake_;
  std::mutex mutex_;  // guards what follows; never the relay's thread's
  std::condition_variable flushed_;
  bool is_stopping_ = false;
  std::atomic<int> flushing_ =
      0;  // callers that wait in flush(); the writer looks without the lock too
  std::atomic<Clock::time_point> stop_at_ = kNever;  // the thread may not go on then

  // The writer's own.
  std::unique_ptr<AuditStore> store_;
  WorkTurns turns_;
  bool was_opened_ = false;  // the file was open before, in this run
  bool is_faulty_ = false;
  bool has_more_ = false;  // a batch was full: there are more rows already
  bool is_over_size_ = false;
  bool has_too_old_ = false;  // a step of retention did not get them all
  bool has_unused_ = false;   // nor one of giving pages back
  std::optional<std::int64_t>
      owed_since_;  // the next file that is opened gets a gap from then to now
  Clock::time_point retry_at_{};
  Clock::time_point next_age_check_{};
  Clock::time_point next_settling_{};
  Clock::time_point may_set_aside_{};

  std::thread thread_;
};

}  // namespace waystation
