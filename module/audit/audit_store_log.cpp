// The store's write-ahead log: when it is moved into the file, and what becomes of it when somebody
// deletes or replaces either.
#include <sqlite3.h>
#include <unistd.h>

#include <cstdio>
#include <new>

#include "audit/audit_store.hpp"

namespace waystation {
namespace {

// The log is moved into the file when it is so long. A page that was written several times since is
// then moved once.
constexpr std::int64_t kLogBytes = 16 << 20;

}  // namespace

int AuditStore::count_log_pages(void* store, sqlite3*, const char*, int pages) {
  static_cast<AuditStore*>(store)->log_pages_ = pages;
  return SQLITE_OK;
}

void AuditStore::tend_log(std::int64_t max_log_bytes) {
  if (log_pages_ * page_bytes_ < kLogBytes) return;
  // Does not wait for readers; what they still need stays in the log until the next time.
  int pages = 0;
  int moved = 0;
  int code = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &pages,
                                       &moved);
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) database_.fail(code);
  if (code == SQLITE_OK && moved == pages) log_pages_ = 0;  // the next commit says what is true
  if (pages * page_bytes_ <= max_log_bytes) return;
  // It is longer than it may be: wait for the readers a moment, and begin the log anew.
  code = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr,
                                   nullptr);
  if (code == SQLITE_OK) {
    log_pages_ = 0;
    return;
  }
  if ((code & 0xff) != SQLITE_BUSY) database_.fail(code);
  log_pages_ = pages;
  throw AuditHeld(
      "another process has been reading the file without an end, and its log has grown "
      "to " +
      std::to_string(pages * page_bytes_) + " bytes");
}

void AuditStore::settle_log() {
  if (log_pages_ == 0 && size_of(log_path_) == 0) return;
  database_.set_busy_timeout(0);
  const int code = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE,
                                             nullptr, nullptr);
  database_.set_busy_timeout(kBusyMs);
  if (code == SQLITE_OK) {
    log_pages_ = 0;
  } else if ((code & 0xff) != SQLITE_BUSY) {
    database_.fail(code);
  }
}

std::uint64_t AuditStore::disk_bytes() const noexcept {
  return size_of(path_) + size_of(log_path_);
}

void AuditStore::rescue_log() {
  abandon();
  const int code = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE,
                                             nullptr, nullptr);
  if (code != SQLITE_OK) database_.fail(code);
}

bool AuditStore::is_file_in_place() const noexcept {
  return identity_of(path_) == file_;
}

bool AuditStore::is_in_place() const noexcept {
  return is_file_in_place() && identity_of(log_path_) == log_file_ &&
         identity_of(index_path_) == index_file_;
}

void AuditStore::part_from_file(std::int64_t now_ms) noexcept {
  abandon();
  const bool is_settled =
      sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr,
                                nullptr) == SQLITE_OK;
  // It may have gone along, or another's come with the file.
  if (identity_of(log_path_) != log_file_) return;
  try {
    if (!is_settled) {
      const auto aside = log_path_ + ".left-" + std::to_string(now_ms);
      if (::rename(log_path_.c_str(), aside.c_str()) == 0) return;
    }
  } catch (const std::bad_alloc&) {
  }
  // Rather lost than played back into another file: an empty log is none. Where neither can be
  // done, the file system is read-only, and nothing is played back.
  if (::unlink(log_path_.c_str()) != 0) (void)::truncate(log_path_.c_str(), 0);
}

}  // namespace waystation
