#include "audit/audit.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

namespace waystation {
namespace {

using namespace std::chrono_literals;

// A transaction holds no more, so that it is over soon and fits the cache.
constexpr std::size_t kBatchRows = 50'000;
// Rows in one batch interval that are so many that they are gathered for longer, and for how long.
constexpr std::uint64_t kManyRows = 1000;
constexpr auto kLongestGathering = 1s;
// Rows that one step of retention takes out, and the pages that one gives back.
constexpr std::int64_t kTidyRows = 500;
constexpr std::int64_t kTidyPages = 64;
constexpr auto kTidyPause = 20ms;
// How often a writer with nothing to do looks whether its file is still there.
constexpr auto kIdleLook = 1s;
constexpr auto kAgeInterval = 60s;
// A disk that damages one file after the other is a fault, not a reason for more files.
constexpr auto kSetAsideInterval = 60s;
constexpr std::int64_t kMsPerDay = 86'400'000;
constexpr std::int64_t kLeastLogBytes = std::int64_t{64} << 20;

std::int64_t wall_ms() noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

constexpr std::size_t kMaxNodeBytes = 64;

/// The node's name, or else the host's.
std::string node_of(const std::string& node) {
  if (is_audit_node(node)) return node;
  if (!node.empty()) {
    throw AuditRefused("audit_node = \"" + node + "\": 1 to " + std::to_string(kMaxNodeBytes) +
                       " of the characters A-Z, a-z, 0-9, '.', '_' and '-'");
  }
  std::array<char, kMaxNodeBytes + 1> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0 || !is_audit_node(host.data())) {
    return "waystation";
  }
  return host.data();
}

AuditState state_of(int system_error) noexcept {
  switch (system_error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return AuditState::disk_full;
    case EROFS: return AuditState::read_only;
    default: return AuditState::failed;
  }
}

AuditState state_of(const SqliteError& error) noexcept {
  switch (error.primary_code()) {
    case SQLITE_FULL: return AuditState::disk_full;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return AuditState::locked;
    case SQLITE_READONLY: return AuditState::read_only;
    default: return state_of(error.system_error());
  }
}

std::string words_of(const SqliteError& error) {
  std::string words = error.what();
  if (error.system_error() != 0) {
    words += ": ";
    words += std::strerror(error.system_error());
  }
  return words;
}

std::string rows_text(std::uint64_t rows) {
  return std::to_string(rows) + (rows == 1 ? " row" : " rows");
}

}  // namespace

const char* audit_state_text(AuditState state) noexcept {
  switch (state) {
    case AuditState::starting: return "starting";
    case AuditState::ok: return "ok";
    case AuditState::disk_full: return "disk full";
    case AuditState::locked: return "locked";
    case AuditState::read_only: return "read-only";
    case AuditState::held: return "held";
    case AuditState::failed: return "failed";
  }
  return "failed";
}

void Audit::check(const std::string& file) {
  const auto path = resolve_audit_path(file);
  check_before_start(path);
  refuse_newer_audit(path);
}

bool is_audit_node(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxNodeBytes && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           c == '.' || c == '_' || c == '-';
  });
}

Audit::Audit(AuditOptions options)
    : options_(std::move(options)),
      path_(resolve_audit_path(options_.file)),
      node_(node_of(options_.node)),
      started_at_(wall_ms()),
      queue_(options_.queue_bytes),
      retention_days_(options_.retention_days),
      max_bytes_(options_.max_bytes) {
  check(path_);
  // Once here, where a mistake can still be refused. Any fault is met again by the writer, who says
  // so and goes on trying.
  try {
    AuditStore once(path_, node_, false);
    if (once.was_made_private()) {
      say(AuditLogLevel::warning,
          "audit: " + path_ + " could be read by others; its mode is now 0600");
    }
    // Before the first row can come, so that none is missing without a trace.
    begin_run(once);
  } catch (const SqliteError&) {
  } catch (const std::system_error&) {
  }
  thread_ = std::thread([this] { run(); });
}

Audit::~Audit() { stop(); }

void Audit::say(AuditLogLevel level, const std::string& line) const noexcept {
  if (!options_.log) return;
  try {
    options_.log(level, line);
  } catch (...) {
    // A log that cannot be written must not end the audit.
  }
}

// ---- the relay's thread

void Audit::on_delivery(const Delivery& delivery) noexcept {
  if (delivery.outcome == Outcome::chat) return;
  if (!queue_.push(delivery)) return lose(delivery);
  if (!is_asleep_.load(std::memory_order_seq_cst)) return;
  // Once for each time that the writer fell asleep; it holds this lock for moments only.
  is_asleep_.store(false, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    is_woken_ = true;
  }
  wake_.notify_one();
}

void Audit::lose(const Delivery& delivery) noexcept {
  rows_lost_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(loss_mutex_);
  if (loss_.lost++ == 0) {
    loss_.since = delivery.at;
    loss_.until = delivery.at;
  }
  loss_.since = std::min(loss_.since, delivery.at);
  loss_.until = std::max(loss_.until, delivery.at);
}

AuditGap Audit::loss() const noexcept {
  const std::lock_guard lock(loss_mutex_);
  return loss_;
}

void Audit::settle_loss(const AuditGap& gap) noexcept {
  if (gap.lost == 0) return;
  const std::lock_guard lock(loss_mutex_);
  loss_.lost -= gap.lost;
  loss_.since = gap.until;  // what was lost since then came later
}

// ---- any thread

bool Audit::flush(std::chrono::milliseconds deadline) {
  const auto rows = queue_.rows_in();
  std::unique_lock lock(mutex_);
  ++flushing_;
  wake_.notify_one();
  const bool done = flushed_.wait_for(
      lock, deadline, [&] { return queue_.rows_out() >= rows && loss().lost == 0; });
  --flushing_;
  return done;
}

void Audit::set_retention(std::uint32_t days, std::uint64_t max_bytes) noexcept {
  retention_days_.store(days, std::memory_order_relaxed);
  max_bytes_.store(max_bytes, std::memory_order_relaxed);
}

AuditFigures Audit::figures() const {
  AuditFigures figures;
  {
    const std::lock_guard lock(fault_mutex_);
    figures.state = state_;
    figures.fault = fault_;
  }
  figures.rows_written = rows_written_.load(std::memory_order_relaxed);
  figures.rows_lost = rows_lost_.load(std::memory_order_relaxed);
  figures.rows_waiting = queue_.size();
  figures.file_bytes = file_bytes_.load(std::memory_order_relaxed);
  const auto since = waiting_since_.load(std::memory_order_relaxed);
  if (since != 0 && figures.rows_waiting != 0) {
    figures.lag_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(wall_ms() - since, 0));
  }
  return figures;
}

void Audit::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

// ---- the writer's thread

void Audit::run() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    const bool is_last = wait_for_work(lock);
    lock.unlock();
    work();
    lock.lock();
    if (flushing_ != 0) flushed_.notify_all();
    if (is_last && (is_faulty_ || (queue_.size() == 0 && loss().lost == 0))) break;
  }
  lock.unlock();
  close();
}

/// Returns when there is something to do; true where the end is wanted.
bool Audit::wait_for_work(std::unique_lock<std::mutex>& lock) {
  const auto is_urgent = [this] { return is_stopping_ || flushing_ != 0; };
  if (is_stopping_) return true;
  if (is_faulty_) {
    // Also when someone waits for a flush: trying more often does not mend a disk.
    wake_.wait_until(lock, retry_at_, [this] { return is_stopping_; });
    return is_stopping_;
  }
  if (has_more_ || store_ == nullptr) return false;
  if (is_over_size_ || has_too_old_ || has_unused_) {
    wake_.wait_for(lock, kTidyPause, is_urgent);
  } else {
    is_woken_ = false;
    is_asleep_.store(true, std::memory_order_seq_cst);
    if (queue_.size() == 0) {
      wake_.wait_for(lock, kIdleLook, [&] { return is_woken_ || is_urgent(); });
    }
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
  do {
    if (wake_.wait_for(lock, options_.batch_interval, is_urgent)) return;
  } while (queue_.size() > kManyRows && !queue_.is_half_full() &&
           Clock::now() - begin < kLongestGathering);
}

void Audit::work() noexcept {
  try {
    if (store_ == nullptr) {
      open();
    } else {
      reopen_if_moved();
    }
    write_batch();
    tidy();
    recover();
  } catch (const SqliteError& error) {
    if (store_ != nullptr) store_->abandon();
    if (error.is_corruption()) return set_aside_damaged(words_of(error));
    const auto state = state_of(error);
    // A lock ends and a disk is emptied; after anything else the connection is not trusted.
    if (state != AuditState::locked && state != AuditState::disk_full) store_.reset();
    fault(state, words_of(error));
  } catch (const AuditHeld& held) {
    fault(AuditState::held, held.what());
  } catch (const std::system_error& error) {
    store_.reset();
    fault(state_of(error.code().value()), error.what());
  } catch (const std::bad_alloc&) {
    store_.reset();
    fault(AuditState::failed, "there is no memory for it");
  } catch (const std::exception& error) {  // AuditRefused: somebody put something else there
    store_.reset();
    fault(AuditState::failed, error.what());
  }
}

void Audit::begin_run(AuditStore& store) {
  if (!store.begin_run(started_at_, wall_ms())) return;
  say(AuditLogLevel::warning,
      "audit: the last run of " + node_ + " on " + path_ +
          " ended without closing it: what it had not written yet is missing, and a row says so");
}

void Audit::open() {
  auto store = std::make_unique<AuditStore>(path_, node_, !was_opened_);
  begin_run(*store);
  if (mark_new_file_) {
    const auto now = wall_ms();
    store->begin();
    store->insert(AuditGap{now, now, AuditGap::kUnknown});
    store->commit();
    mark_new_file_ = false;
  }
  store_ = std::move(store);
  file_bytes_.store(static_cast<std::uint64_t>(store_->file_bytes()), std::memory_order_relaxed);
  was_opened_ = true;
}

void Audit::reopen_if_moved() {
  if (store_->is_in_place()) return;
  if (store_->is_file_in_place()) {
    // What the log held goes into the file when it is closed.
    say(AuditLogLevel::warning, "audit: the log of " + path_ + ", " + path_ +
                                    "-wal, was deleted; nothing is lost, and a new one is begun");
  } else {
    say(AuditLogLevel::error, "audit: " + path_ +
                                  " was deleted or replaced while it was in use; what was in it is "
                                  "no longer here, and it is gone on with what is there now. To "
                                  "move it away, stop the program first");
    mark_new_file_ = true;
    store_->part_from_file(wall_ms());
  }
  store_.reset();
  open();
}

void Audit::write_batch() {
  store_->tend_log(max_log_bytes());
  has_more_ = false;
  auto cursor = queue_.begin();
  const auto gap = loss();
  auto row = queue_.next(cursor);
  if (!row && gap.lost == 0) return;
  if (waiting_since_.load(std::memory_order_relaxed) == 0) {
    waiting_since_.store(wall_ms(), std::memory_order_relaxed);
  }
  std::size_t rows = 0;
  store_->begin();
  while (row) {
    store_->insert(*row);
    if (++rows == kBatchRows) break;
    row = queue_.next(cursor);
  }
  if (gap.lost != 0) store_->insert(gap);
  // A file that has its size gives away as much as it takes, in the same transaction.
  if (is_over_size()) store_->retire_oldest(static_cast<std::int64_t>(2 * rows) + kTidyRows);
  store_->commit();
  has_more_ = rows == kBatchRows;
  if (!store_->is_in_place()) {
    // Deleted in this moment, the file took the batch with it: the next one gets it.
    has_more_ = true;
    return;
  }
  queue_.release(cursor);
  settle_loss(gap);
  waiting_since_.store(0, std::memory_order_relaxed);
  rows_written_.fetch_add(rows, std::memory_order_relaxed);
}

/// Whether the file is larger than it may be; once it was, until it is somewhat smaller, so that
/// there is not something to take out each time.
bool Audit::is_over_size() {
  const auto max_bytes = static_cast<std::int64_t>(max_bytes_.load(std::memory_order_relaxed));
  is_over_size_ =
      max_bytes != 0 && store_->used_bytes() > max_bytes - (is_over_size_ ? max_bytes / 32 : 0);
  return is_over_size_;
}

/// One small step of retention; rows that came go first.
void Audit::tidy() {
  if (has_more_) return;
  if (queue_.size() == 0) store_->release_memory();
  const auto now = Clock::now();
  const auto days = retention_days_.load(std::memory_order_relaxed);
  if (days != 0 && (has_too_old_ || now >= next_age_check_)) {
    store_->begin();
    has_too_old_ = store_->retire_before(wall_ms() - days * kMsPerDay, kTidyRows) == kTidyRows;
    store_->commit();
    next_age_check_ = now + kAgeInterval;
  }
  if (is_over_size()) {
    store_->begin();
    // A file without rows is as small as it gets.
    if (store_->retire_oldest(kTidyRows) == 0) is_over_size_ = false;
    store_->commit();
  }
  const auto max_bytes = static_cast<std::int64_t>(max_bytes_.load(std::memory_order_relaxed));
  auto file = store_->file_bytes();
  has_unused_ = false;
  if (max_bytes != 0 && file > max_bytes && file > store_->used_bytes()) {
    store_->shrink(kTidyPages);
    const auto before = std::exchange(file, store_->file_bytes());
    has_unused_ = file < before;
  }
  file_bytes_.store(static_cast<std::uint64_t>(file), std::memory_order_relaxed);
}

std::int64_t Audit::max_log_bytes() const noexcept {
  const auto max_bytes = static_cast<std::int64_t>(max_bytes_.load(std::memory_order_relaxed));
  return max_bytes == 0 ? 4 * kLeastLogBytes : std::max(kLeastLogBytes, max_bytes / 4);
}

void Audit::close() noexcept {
  const auto waiting = queue_.size();
  if (waiting != 0) {
    rows_lost_.fetch_add(waiting, std::memory_order_relaxed);
    say(AuditLogLevel::error, "audit: " + path_ + ": " + rows_text(waiting) +
                                  " could not be written before the end and are lost");
  } else if (store_ != nullptr && loss().lost == 0) {
    // Otherwise the next run finds that this one did not end well, and says so in a row.
    try {
      store_->end_run(wall_ms());
    } catch (const SqliteError& error) {
      say(AuditLogLevel::warning,
          "audit: " + path_ + ": its end could not be entered: " + words_of(error));
    }
  }
  store_.reset();
}

void Audit::fault(AuditState state, const std::string& what) noexcept {
  is_faulty_ = true;
  retry_at_ = Clock::now() + options_.retry_interval;
  {
    const std::lock_guard lock(fault_mutex_);
    if (state_ == state) return;  // logged already
    state_ = state;
    fault_ = what;
  }
  say(AuditLogLevel::error,
      "audit: " + path_ + ": " + audit_state_text(state) + " (" + what +
          "). Chat goes on; rows wait in memory, and once that is full they are counted as lost. "
          "It is tried again until it works");
}

void Audit::recover() noexcept {
  {
    const std::lock_guard lock(fault_mutex_);
    if (state_ == AuditState::ok) return;
    state_ = AuditState::ok;
    fault_.clear();
  }
  const bool was_faulty = std::exchange(is_faulty_, false);
  if (was_faulty) {
    say(AuditLogLevel::info, "audit: " + path_ + " is written again; lost since the start: " +
                                 rows_text(rows_lost_.load(std::memory_order_relaxed)));
  }
}

void Audit::set_aside_damaged(const std::string& damage) noexcept {
  store_.reset();
  const auto now = Clock::now();
  if (now < may_set_aside_) return fault(AuditState::failed, damage);
  try {
    const auto aside = set_aside(path_, wall_ms());
    may_set_aside_ = now + kSetAsideInterval;
    mark_new_file_ = true;
    has_more_ = true;
    say(AuditLogLevel::error,
        "audit: " + path_ + " is damaged (" + damage + "); it is now " + aside +
            ", and a new one was begun. Nothing was deleted: `sqlite3 " + aside +
            " .recover` shows what can still be read in it");
  } catch (const std::exception& error) {
    fault(AuditState::failed, "it is damaged (" + damage + ") and cannot be set aside: " +
                                  error.what());
  }
}

}  // namespace waystation
