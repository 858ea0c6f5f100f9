#include "audit/audit_writer.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

#include "audit/audit_text.hpp"
#include "audit/file_size_signal.hpp"
#include "base/clock.hpp"

namespace waystation {
namespace {

using namespace std::chrono_literals;

// The limits of a transaction: so many rows fit the page cache, and the time limit lets the queue
// shrink on a busy machine too.
constexpr std::size_t kBatchRows = 50'000;
constexpr auto kLongestBatch = 1s;
// Rows between two reads of the clock.
constexpr std::size_t kRowsPerClockCheck = 500;
// More rows than this in one batch interval are gathered for longer, up to kLongestGathering.
constexpr std::uint64_t kManyRows = 1000;
constexpr auto kLongestGathering = 1s;
// A queue that is fuller than this leaves no time for gathering and pauses.
constexpr unsigned kUrgentPercent = 50;
// Between two steps of retention.
constexpr auto kRetentionPause = 20ms;
// How long rows may be only in the WAL. A copy of the file alone does not contain them.
constexpr auto kCheckpointInterval = 2s;
// A checkpoint takes place while fewer rows than this wait.
constexpr std::uint64_t kFewRows = 1000;
constexpr int kNice = 10;

/// Rows can wait, messages cannot. With this priority the thread still gets a tenth of a busy
/// processor. On Linux a nice value belongs to one thread.
void lower_priority() noexcept {
  if (getpriority(PRIO_PROCESS, 0) < kNice) (void)setpriority(PRIO_PROCESS, 0, kNice);
}

}  // namespace

AuditWriter::AuditWriter(const AuditOptions& options, std::string path, std::string node,
                         AuditInbox& inbox, AuditStatus& status)
    : options_(options),
      path_(std::move(path)),
      node_(std::move(node)),
      started_at_(wall_clock_ms()),
      inbox_(inbox),
      status_(status),
      retention_(options.retention_days, options.max_bytes,
                 [&inbox] { return inbox.is_past_deadline(); }),
      run_file_(path_, node_) {}

// ---- start

void AuditWriter::start() {
  // Before the first row can come: a row that is lost leaves a trace even if the audit cannot be
  // opened in this run.
  acquire_run_file();
  try {
    AuditStore store(path_, node_, false);
    if (store.was_made_private()) {
      log(AuditLogLevel::warning, [this] {
        return "audit: " + path_ + ": other users could read the file; its mode is now 0600";
      });
    }
    begin_run(store);
  } catch (const SqliteError&) {
    // The writer meets the fault again, logs it and retries.
  } catch (const std::system_error&) {
    // The same.
  } catch (...) {
    cancel();
    throw;
  }
}

void AuditWriter::cancel() noexcept {
  if (run_file_.missing_since()) return;  // an earlier run's, not recorded yet
  try {
    AuditStore store(path_, node_, false);
    store.begin_run(started_at_, std::nullopt);
    store.end_run(wall_clock_ms());
  } catch (const std::exception&) {
    // If the run was recorded, the next one takes it for one that was interrupted.
  }
  run_file_.remove();
}

/// A file system that takes no file leaves no trace but the log, if the audit cannot be opened
/// before the end either.
void AuditWriter::acquire_run_file() {
  try {
    run_file_.acquire(started_at_);
  } catch (const std::system_error&) {
    // Tried again before each batch.
  }
}

void AuditWriter::begin_run(AuditStore& store) {
  const bool has_gap = store.begin_run(started_at_, run_file_.missing_since());
  run_file_.clear_missing(started_at_);
  if (!has_gap) return;
  log(AuditLogLevel::warning, [this] {
    return "audit: " + path_ + ": the last run of node " + node_ +
           " did not end cleanly; rows that it had not written are missing, and a gap records it";
  });
}

// ---- the thread

void AuditWriter::run() noexcept {
  const FileSizeSignalBlocker no_signal;
  lower_priority();
  for (;;) {
    const bool is_stopping = wait_for_work();
    work();
    inbox_.notify_flushed();
    if (!is_stopping) continue;
    // Another process's lock may be released before the deadline; any other fault ends the wait.
    if (is_faulty_ && status_.state() != AuditState::locked) break;
    if (inbox_.is_past_deadline()) break;
    if (inbox_.queue().size() == 0 && !inbox_.has_unrecorded_loss()) break;
  }
  close();
}

/// Returns when there is something to do; true if a stop was requested.
bool AuditWriter::wait_for_work() {
  if (inbox_.is_stop_requested()) return true;
  if (is_faulty_) {
    // Also if somebody flushes: to try more often repairs no disk.
    return inbox_.sleep_until(retry_at_, [this] { return inbox_.is_stop_requested(); });
  }
  if (has_more_ || store_ == nullptr) return false;
  if (retention_.has_work()) {
    inbox_.sleep_until(Clock::now() + kRetentionPause, [this] { return inbox_.is_urgent(); });
  } else {
    inbox_.sleep_until_row(Clock::now() + options_.idle_interval);
  }
  if (inbox_.queue().size() != 0) gather_rows();
  return inbox_.is_stop_requested();
}

/// Waits for more rows, to commit them together. Very many rows are gathered for longer: they are
/// spread over the indexes, and a commit writes every page that one of them is on.
void AuditWriter::gather_rows() {
  const auto& queue = inbox_.queue();
  const auto begin = Clock::now();
  std::uint64_t before = 0;
  do {
    before = queue.rows_in();
    if (inbox_.sleep_until(Clock::now() + options_.batch_interval,
                           [this] { return inbox_.is_urgent(); })) {
      return;
    }
  } while (queue.rows_in() - before > kManyRows && !queue.is_fuller_than(kUrgentPercent) &&
           Clock::now() - begin < kLongestGathering);
}

void AuditWriter::open() {
  acquire_run_file();
  auto store = std::make_unique<AuditStore>(path_, node_, !was_opened_,
                                            [this] { return !inbox_.is_past_deadline(); });
  begin_run(*store);
  if (missing_since_) {
    const auto now = wall_clock_ms();
    store->begin();
    store->insert(AuditGap{std::min(*missing_since_, now), now, AuditGap::kUnknown});
    store->commit();
    missing_since_.reset();
    run_file_.clear_missing(started_at_);
  }
  store_ = std::move(store);
  store_->set_progress_callback([this] { pause_if_due(); });
  status_.set_file_bytes(store_->disk_bytes());
  was_opened_ = true;
}

void AuditWriter::update_waiting_since() noexcept {
  const auto& queue = inbox_.queue();
  auto cursor = queue.begin();
  const auto oldest = queue.next(cursor);
  status_.set_waiting_since(oldest ? oldest->at : 0);
}

/// Leaves the processor to others now and then, unless somebody waits for the rows or the queue may
/// soon be full.
void AuditWriter::pause_if_due() noexcept {
  if (inbox_.is_urgent() || inbox_.queue().is_fuller_than(kUrgentPercent)) return;
  duty_cycle_.pause_if_due();
}

void AuditWriter::write_batch() {
  auto& queue = inbox_.queue();
  auto& loss = inbox_.loss();
  store_->checkpoint_if_large(max_wal_bytes());
  has_more_ = false;
  auto cursor = queue.begin();
  const auto gap = loss.unrecorded();
  auto row = queue.next(cursor);
  if (!row && gap.lost == 0) return;
  std::size_t rows = 0;
  const auto end = Clock::now() + kLongestBatch;
  store_->begin();
  while (row) {
    store_->insert(*row);
    if (++rows == kBatchRows) break;
    if (rows % kRowsPerClockCheck == 0 && (inbox_.is_past_deadline() || Clock::now() > end)) break;
    row = queue.next(cursor);
  }
  if (gap.lost != 0) store_->insert(gap);
  // In the same transaction, so that a file at its limit does not grow.
  retention_.make_space(*store_, rows);
  store_->commit();
  has_more_ = row.has_value();
  if (!store_->is_file_in_place()) {
    // Deleted in this moment, the file took the batch with it: the next file gets it again.
    has_more_ = true;
    return;
  }
  const auto release = [&] {
    status_.count_written(rows);  // first: flush() may return after the release
    queue.release(cursor);
    loss.mark_recorded(gap);
    update_waiting_since();
  };
  // If only the WAL was deleted, the batch is in this connection alone until it is recovered.
  try {
    reopen_if_moved();
  } catch (...) {
    release();
    throw;
  }
  release();
}

/// One step of retention, and a checkpoint if there is time for it.
void AuditWriter::run_retention() {
  if (inbox_.is_past_deadline()) return;
  const auto waiting = inbox_.queue().size();
  if (waiting == 0) store_->release_memory();
  const auto now = Clock::now();
  const bool is_complete = retention_.run_step(*store_);
  if (is_complete || (now >= next_checkpoint_ && waiting < kFewRows)) {
    store_->checkpoint_all();
    next_checkpoint_ = now + kCheckpointInterval;
  }
  status_.set_file_bytes(store_->disk_bytes());
}

std::int64_t AuditWriter::max_wal_bytes() const noexcept {
  const auto max_bytes = retention_.max_bytes();
  return max_bytes == 0 ? 4 * options_.wal_bytes : std::max(options_.wal_bytes, max_bytes / 4);
}

// ---- the end

void AuditWriter::close() noexcept {
  const auto waiting = inbox_.queue().size();
  if (waiting != 0) {
    status_.count_abandoned(waiting);
    log(AuditLogLevel::error, [&] {
      return "audit: " + path_ + ": " + rows_text(waiting) +
             " could not be written before the end and are lost; the next run records a gap";
    });
  } else if (store_ != nullptr && !inbox_.has_unrecorded_loss() && store_->is_in_place()) {
    // Otherwise the next run finds that this one did not end cleanly, and records a gap.
    try {
      store_->end_run(wall_clock_ms());
      run_file_.remove();
    } catch (const SqliteError& error) {
      log(AuditLogLevel::warning, [&] {
        return "audit: " + path_ + ": the end of the run could not be recorded: " + describe(error);
      });
    } catch (const std::exception&) {
      // Out of memory: the next run records a gap.
    }
  }
  // A checkpoint may take long; the next run does it.
  if (store_ != nullptr && inbox_.is_past_deadline()) store_->skip_checkpoint_on_close();
  store_.reset();
  run_file_.release();
}

}  // namespace waystation
