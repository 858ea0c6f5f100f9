// The audit's writer: what can go wrong with its file, and the recovery from it.
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "audit/audit_text.hpp"
#include "audit/audit_writer.hpp"
#include "base/clock.hpp"

namespace waystation {
namespace {

using namespace std::chrono_literals;

// A disk that damages one file after the other is a fault, not a reason for more files.
constexpr auto kSetAsideInterval = 60s;

}  // namespace

template <typename Describe>
void AuditWriter::enter_fault(AuditState state, Describe describe_fault) noexcept {
  // SQLite reports only that it cannot open its files there.
  if (state == AuditState::failed && is_on_read_only_file_system(path_)) {
    state = AuditState::read_only;
  }
  is_faulty_ = true;
  retry_at_ = Clock::now() + options_.retry_interval;
  std::string fault;
  std::string copy;
  try {
    fault = describe_fault();
    copy = fault;
  } catch (const std::bad_alloc&) {
    // The state alone is reported.
  }
  if (status_.set_state(state, std::move(copy)) == state) return;  // logged already
  log(AuditLogLevel::error, [&] {
    return "audit: " + path_ + ": " + audit_state_text(state) + " (" + fault +
           "); rows wait in memory and are counted as lost when it is full; retrying";
  });
}

void AuditWriter::leave_fault() noexcept {
  status_.set_state(AuditState::ok, {});
  if (!std::exchange(is_faulty_, false)) return;
  log(AuditLogLevel::info, [this] {
    return "audit: " + path_ +
           " is written again; lost since the start: " + rows_text(status_.rows_lost(inbox_));
  });
}

void AuditWriter::work() noexcept {
  update_waiting_since();
  try {
    if (store_ == nullptr) {
      open();
    } else {
      reopen_if_moved();
    }
    acquire_run_file();  // somebody may have deleted it
    write_batch();
    run_retention();
    leave_fault();
  } catch (const SqliteError& error) {
    if (store_ != nullptr) store_->rollback();
    if (error.is_corruption()) return set_aside_damaged(error);
    const auto state = state_of(error);
    // A lock ends and a disk is emptied; after anything else the connection is not trusted.
    if (state != AuditState::locked && state != AuditState::disk_full) store_.reset();
    enter_fault(state, [&] { return describe(error); });
  } catch (const AuditBlocked& blocked) {
    enter_fault(AuditState::blocked, [&] { return blocked.what(); });
  } catch (const std::system_error& error) {
    store_.reset();
    enter_fault(state_of(error.code().value()), [&] { return error.what(); });
  } catch (const std::bad_alloc&) {
    store_.reset();
    enter_fault(AuditState::failed, [] { return "out of memory"; });
  } catch (const std::exception& error) {  // AuditRefused: something else is at the path
    store_.reset();
    enter_fault(AuditState::failed, [&] { return error.what(); });
  }
}

void AuditWriter::set_aside_damaged(const SqliteError& damage) noexcept {
  store_.reset();
  const auto now = Clock::now();
  if (now < next_set_aside_) {
    return enter_fault(AuditState::failed, [&] { return describe(damage); });
  }
  try {
    const auto aside = set_aside(path_, wall_clock_ms());
    next_set_aside_ = now + kSetAsideInterval;
    add_missing_since(retention_.oldest_kept());
    has_more_ = true;
    log(AuditLogLevel::error, [&] {
      return "audit: " + path_ + " is damaged (" + describe(damage) + "); it is now " + aside +
             " and a new file replaces it; `sqlite3 " + aside +
             " .recover` shows the rows that can still be read";
    });
  } catch (const std::exception& error) {
    enter_fault(AuditState::failed, [&] {
      return "the file is damaged (" + describe(damage) +
             ") and cannot be set aside: " + error.what();
    });
  }
}

/// Rows may be missing since then. The next file that is opened records it as a gap, or the next
/// run does.
void AuditWriter::add_missing_since(std::int64_t since) noexcept {
  missing_since_ = missing_since_ ? std::min(*missing_since_, since) : since;
  run_file_.set_missing_since(*missing_since_);
}

void AuditWriter::reopen_if_moved() {
  if (store_->is_in_place()) return;
  if (store_->is_file_in_place()) {
    recover_wal();
  } else {
    log(AuditLogLevel::error, [this] {
      return "audit: " + path_ +
             " was deleted or replaced while in use; its rows are no longer here, and writing "
             "continues with the file that is there now; stop the program before you move the file";
    });
    add_missing_since(retention_.oldest_kept());
    store_->abandon_moved_file(wall_clock_ms());
  }
  store_.reset();
  open();
}

/// The WAL or its index was deleted: its rows are in this connection alone until a checkpoint puts
/// them into the file. While another process reads, or the disk is full, the connection keeps it.
void AuditWriter::recover_wal() {
  const std::string what =
      "audit: " + path_ + "-wal or " + path_ + "-shm was deleted or replaced while in use; ";
  try {
    store_->recover_wal();
  } catch (const SqliteError& error) {
    const auto state = state_of(error);
    if (state == AuditState::locked || state == AuditState::disk_full) throw;
    add_missing_since(retention_.oldest_kept());  // how much the file has is unknown
    log(AuditLogLevel::error,
        [&] { return what + "its rows are lost (" + describe(error) + "), and a gap records it"; });
    return;
  }
  log(AuditLogLevel::warning, [&] { return what + "nothing is lost, and a new one is used"; });
}

}  // namespace waystation
