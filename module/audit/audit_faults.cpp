// The audit's writer: what may go wrong with its file, and what is done about it.
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "audit/audit.hpp"
#include "audit/audit_words.hpp"

namespace waystation {
namespace {

using namespace std::chrono_literals;

// A disk that damages one file after the other is a fault, not a reason for more files.
constexpr auto kSetAsideInterval = 60s;

}  // namespace

template <typename What>
void Audit::fault(AuditState state, What what) noexcept {
  // SQLite says only that it cannot open its files there.
  if (state == AuditState::failed && is_on_read_only_file_system(path_)) {
    state = AuditState::read_only;
  }
  is_faulty_ = true;
  retry_at_ = Clock::now() + options_.retry_interval;
  std::string words;
  std::string kept;
  try {
    words = what();
    kept = words;
  } catch (const std::bad_alloc&) {
    // There is still the state.
  }
  {
    // Held for no longer than this: who asks for the figures would wait for this thread, which
    // gives way to every other.
    const std::lock_guard lock(fault_mutex_);
    fault_.swap(kept);
    if (state_ == state) return;  // logged already
    state_ = state;
  }
  say(AuditLogLevel::error, [&] {
    return "audit: " + path_ + ": " + audit_state_text(state) + " (" + words +
           "). Chat goes on; rows wait in memory, and once that is full they are counted as lost. "
           "It is tried again until it works";
  });
}

void Audit::work() noexcept {
  note_waiting();
  try {
    if (store_ == nullptr) {
      open();
    } else {
      reopen_if_moved();
    }
    take_run_file();  // again, where somebody deleted it
    write_batch();
    tidy();
    recover();
  } catch (const SqliteError& error) {
    if (store_ != nullptr) store_->abandon();
    if (error.is_corruption()) return set_aside_damaged(error);
    const auto state = state_of(error);
    // A lock ends and a disk is emptied; after anything else the connection is not trusted.
    if (state != AuditState::locked && state != AuditState::disk_full) store_.reset();
    fault(state, [&] { return words_of(error); });
  } catch (const AuditHeld& held) {
    fault(AuditState::held, [&] { return held.what(); });
  } catch (const std::system_error& error) {
    store_.reset();
    fault(state_of(error.code().value()), [&] { return error.what(); });
  } catch (const std::bad_alloc&) {
    store_.reset();
    fault(AuditState::failed, [] { return "there is no memory for it"; });
  } catch (const std::exception& error) {  // AuditRefused: somebody put something else there
    store_.reset();
    fault(AuditState::failed, [&] { return error.what(); });
  }
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
    say(AuditLogLevel::info, [this] {
      return "audit: " + path_ +
             " is written again; lost since the start: " + rows_text(rows_lost());
    });
  }
}

void Audit::set_aside_damaged(const SqliteError& damage) noexcept {
  store_.reset();
  const auto now = Clock::now();
  if (now < may_set_aside_) {
    return fault(AuditState::failed, [&] { return words_of(damage); });
  }
  try {
    const auto aside = set_aside(path_, wall_ms());
    may_set_aside_ = now + kSetAsideInterval;
    owe(oldest_kept());
    has_more_ = true;
    say(AuditLogLevel::error, [&] {
      return "audit: " + path_ + " is damaged (" + words_of(damage) + "); it is now " + aside +
             ", and a new one was begun. Nothing was deleted: `sqlite3 " + aside +
             " .recover` shows what can still be read in it";
    });
  } catch (const std::exception& error) {
    fault(AuditState::failed, [&] {
      return "it is damaged (" + words_of(damage) + ") and cannot be set aside: " + error.what();
    });
  }
}

/// Rows are lost since then, as far as anybody knows; the next file that is opened says so, or the
/// next run does.
void Audit::owe(std::int64_t since) noexcept {
  owed_since_ = owed_since_ ? std::min(*owed_since_, since) : since;
  run_file_.owe(*owed_since_);
}

/// How far back the rows of a file that is lost may have gone.
std::int64_t Audit::oldest_kept() const noexcept {
  const auto days = retention_days_.load(std::memory_order_relaxed);
  return days == 0 ? 0 : wall_ms() - days * kMsPerDay;
}

void Audit::reopen_if_moved() {
  if (store_->is_in_place()) return;
  if (store_->is_file_in_place()) {
    rescue_log();
  } else {
    say(AuditLogLevel::error, [this] {
      return "audit: " + path_ +
             " was deleted or replaced while it was in use; what was in it is no longer here, and "
             "it "
             "is gone on with what is there now. To move it away, stop the program first";
    });
    owe(oldest_kept());
    store_->part_from_file(wall_ms());
  }
  store_.reset();
  open();
}

/// The log, or its index, is gone from its folder, and what the log holds is safe in no file before
/// it is moved. As long as another process that reads, or a full disk, is in the way, the
/// connection keeps it.
void Audit::rescue_log() {
  const std::string what = "audit: the log of " + path_ + ", which is " + path_ + "-wal and " +
                           path_ + "-shm, was deleted or replaced; ";
  try {
    store_->rescue_log();
  } catch (const SqliteError& error) {
    const auto state = state_of(error);
    if (state == AuditState::locked || state == AuditState::disk_full) throw;
    owe(oldest_kept());  // nobody knows how much of it the file has
    say(AuditLogLevel::error, [&] {
      return what + "what it held is lost (" + words_of(error) +
             "), a row says so, and a new one is begun";
    });
    return;
  }
  say(AuditLogLevel::warning, [&] { return what + "nothing is lost, and a new one is begun"; });
}

}  // namespace waystation
