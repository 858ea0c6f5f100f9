// The audit's writer: what its thread does.
#include <sys/resource.h>

#include <algorithm>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "audit/audit.hpp"
#include "audit/audit_words.hpp"
#include "audit/file_size_signal.hpp"

namespace waystation {
namespace {

using namespace std::chrono_literals;

// A transaction takes in no more, so that it fits the cache, and none after so long, so that the
// rows of a busy machine leave the queue, too.
constexpr std::size_t kBatchRows = 50'000;
constexpr auto kLongestBatch = 1s;
// The time is looked at each so many.
constexpr std::size_t kTimedRows = 500;
// Rows in one batch interval that are so many that they are gathered for longer, and for how long.
constexpr std::uint64_t kManyRows = 1000;
constexpr auto kLongestGathering = 1s;
// How full the queue may get before there is no time for that, nor for a rest.
constexpr unsigned kHurryPercent = 50;
// Between two steps of retention.
constexpr auto kTidyPause = 20ms;
constexpr int kNice = 10;

/// Everybody else goes first, the relay above all: rows can wait, and messages do not. It still
/// gets a tenth of a processor that others want whole, so that rows come to the file, and to an end
/// at the end, on a machine that is always busy. On Linux a nice value is of one thread alone.
void give_way() noexcept {
  if (getpriority(PRIO_PROCESS, 0) < kNice) setpriority(PRIO_PROCESS, 0, kNice);
}

}  // namespace

void Audit::run() noexcept {
  const FileSizeSignal an_error_only;
  give_way();
  std::unique_lock lock(mutex_);
  for (;;) {
    const bool is_last = wait_for_work(lock);
    lock.unlock();
    work();
    lock.lock();
    if (flushing_ != 0) flushed_.notify_all();
    if (!is_last) continue;
    if ((is_faulty_ && !is_locked()) || is_late() || (queue_.size() == 0 && !has_loss())) break;
  }
  lock.unlock();
  close();
}

/// Sleeps until `is_wanted`, which is called with the lock, or until `time`; whether it is.
template <typename Wanted>
bool Audit::sleep_until(std::unique_lock<std::mutex>& lock, Clock::time_point time,
                        Wanted is_wanted) {
  bool is_time = false;
  while (!is_wanted()) {
    if (is_time) return false;
    lock.unlock();
    is_time = !wake_.sleep_until(time);
    lock.lock();
  }
  return true;
}

/// Returns when there is something to do; true where the end is wanted.
bool Audit::wait_for_work(std::unique_lock<std::mutex>& lock) {
  const auto is_urgent = [this] { return is_stopping_ || flushing_ != 0; };
  if (is_stopping_) return true;
  if (is_faulty_) {
    // Also when someone waits for a flush: trying more often does not mend a disk.
    return sleep_until(lock, retry_at_, [this] { return is_stopping_; });
  }
  if (has_more_ || store_ == nullptr) return false;
  if (is_over_size_ || has_too_old_ || has_unused_) {
    sleep_until(lock, Clock::now() + kTidyPause, is_urgent);
  } else {
    sleep_until(lock, Clock::now() + options_.idle_interval, [&] {
      // Each time: one that was told of an earlier row may have taken the flag back only now.
      is_asleep_.store(true, std::memory_order_seq_cst);
      return queue_.size() != 0 || is_urgent();
    });
    is_asleep_.store(false, std::memory_order_relaxed);
  }
  if (queue_.size() != 0) gather(lock);
  return is_stopping_;
}

/// Lets other rows come, to be committed with the first. Where very many come, for longer: they go
/// everywhere in the indexes, and a commit writes every page that one of them is on.
void Audit::gather(std::unique_lock<std::mutex>& lock) {
  const auto is_urgent = [this] { return is_stopping_ || flushing_ != 0; };
  const auto begin = Clock::now();
  std::uint64_t before = 0;
  do {
    before = queue_.rows_in();
    if (sleep_until(lock, Clock::now() + options_.batch_interval, is_urgent)) return;
  } while (queue_.rows_in() - before > kManyRows && !queue_.is_filled(kHurryPercent) &&
           Clock::now() - begin < kLongestGathering);
}

/// Where the file system takes none, there is no trace but the log if the audit cannot be opened
/// either until the end.
void Audit::take_run_file() {
  try {
    run_file_.take(started_at_);
  } catch (const std::system_error&) {
  }
}

void Audit::begin_run(AuditStore& store) {
  const bool has_gap = store.begin_run(started_at_, run_file_.missing_since());
  run_file_.settle(started_at_);
  if (!has_gap) return;
  say(AuditLogLevel::warning, [this] {
    return "audit: the last run of " + node_ + " on " + path_ +
           " ended without closing it: what it had not written yet is missing, and a row says so";
  });
}

/// Nothing can have come in a run that no thread was there for, so that nothing is missing.
void Audit::withdraw_run() noexcept {
  if (run_file_.missing_since()) return;  // since before, and not entered yet: it is still so
  try {
    AuditStore store(path_, node_, false);
    store.begin_run(started_at_, std::nullopt);  // it was entered before, if that was possible
    store.end_run(wall_ms());
  } catch (const std::exception&) {
    // If it was entered before, the next run takes it for one that was cut.
  }
  run_file_.remove();
}

void Audit::open() {
  take_run_file();
  auto store =
      std::make_unique<AuditStore>(path_, node_, !was_opened_, [this] { return !is_late(); });
  begin_run(*store);
  if (owed_since_) {
    const auto now = wall_ms();
    store->begin();
    store->insert(AuditGap{std::min(*owed_since_, now), now, AuditGap::kUnknown});
    store->commit();
    owed_since_.reset();
    run_file_.settle(started_at_);
  }
  store_ = std::move(store);
  store_->call_between([this] { rest_if_due(); });
  file_bytes_.store(store_->disk_bytes(), std::memory_order_relaxed);
  was_opened_ = true;
}

void Audit::note_waiting() noexcept {
  auto cursor = queue_.begin();
  const auto oldest = queue_.next(cursor);
  waiting_since_.store(oldest ? oldest->at : 0, std::memory_order_relaxed);
}

bool Audit::is_late() const noexcept {
  return Clock::now() >= stop_at_.load();
}

/// Leaves the processor to others now and then, unless someone waits for the rows, or they may soon
/// find no room.
void Audit::rest_if_due() noexcept {
  if (flushing_.load() != 0 || stop_at_.load() != kNever || queue_.is_filled(kHurryPercent)) return;
  turns_.rest_if_due();
}

void Audit::write_batch() {
  store_->tend_log(max_log_bytes());
  has_more_ = false;
  auto cursor = queue_.begin();
  const auto gap = loss_.unsettled();
  auto row = queue_.next(cursor);
  if (!row && gap.lost == 0) return;
  std::size_t rows = 0;
  const auto end = Clock::now() + kLongestBatch;
  store_->begin();
  while (row) {
    store_->insert(*row);
    if (++rows == kBatchRows) break;
    if (rows % kTimedRows == 0 && (is_late() || Clock::now() > end)) break;
    row = queue_.next(cursor);
  }
  if (gap.lost != 0) store_->insert(gap);
  // A file that has its size gives away as much as it takes, in the same transaction.
  retire_oldest(2 * rows);
  if (has_too_old_) retire_old(2 * rows);
  store_->commit();
  has_more_ = row.has_value();
  if (!store_->is_file_in_place()) {
    // Deleted in this moment, the file took the batch with it: the next one gets it.
    has_more_ = true;
    return;
  }
  const auto settle = [&] {
    queue_.release(cursor);
    loss_.settle(gap);
    note_waiting();
    rows_written_.fetch_add(rows, std::memory_order_relaxed);
  };
  // If only the log was, the batch is still in it, and nobody finds it there.
  try {
    reopen_if_moved();
  } catch (...) {
    settle();
    throw;
  }
  settle();
}

void Audit::close() noexcept {
  const auto waiting = queue_.size();
  if (waiting != 0) {
    given_up_.fetch_add(waiting, std::memory_order_relaxed);
    say(AuditLogLevel::error, [&] {
      return "audit: " + path_ + ": " + rows_text(waiting) +
             " could not be written before the end and are lost";
    });
  } else if (store_ != nullptr && !has_loss() && store_->is_in_place()) {
    // Otherwise the next run finds that this one did not end well, and says so in a row.
    try {
      store_->end_run(wall_ms());
      run_file_.remove();
    } catch (const SqliteError& error) {
      say(AuditLogLevel::warning,
          [&] { return "audit: " + path_ + ": its end could not be entered: " + words_of(error); });
    } catch (const std::exception&) {
      // The same for want of memory.
    }
  }
  // To move the log into the file may take long; the next run does it.
  if (store_ != nullptr && is_late()) store_->leave_log();
  store_.reset();
  run_file_.let_go();
}

}  // namespace waystation
