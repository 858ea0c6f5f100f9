// The store's WAL: its checkpoints, and the recovery when the WAL or the file is deleted or
// replaced.
#include <sqlite3.h>
#include <unistd.h>

#include <cstdio>
#include <new>

#include "audit/audit_store.hpp"

namespace waystation {
namespace {

// A WAL of this size is checkpointed. A page that was written several times is then copied once.
constexpr std::int64_t kCheckpointBytes = 16 << 20;

}  // namespace

int AuditStore::count_wal_pages(void* store, sqlite3*, const char*, int pages) {
  static_cast<AuditStore*>(store)->wal_pages_ = pages;
  return SQLITE_OK;
}

void AuditStore::checkpoint_if_large(std::int64_t max_wal_bytes) {
  if (wal_pages_ * page_bytes_ < kCheckpointBytes) return;
  // Does not wait for readers; pages that they still need stay in the WAL until the next time.
  int pages = 0;
  int moved = 0;
  int code = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &pages,
                                       &moved);
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) database_.fail(code);
  if (code == SQLITE_OK && moved == pages) wal_pages_ = 0;  // the next commit sets it again
  if (pages * page_bytes_ <= max_wal_bytes) return;
  // It is longer than allowed: wait for the readers for a moment, and truncate it.
  code = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr,
                                   nullptr);
  if (code == SQLITE_OK) {
    wal_pages_ = 0;
    return;
  }
  if ((code & 0xff) != SQLITE_BUSY) database_.fail(code);
  wal_pages_ = pages;
  throw AuditBlocked(
      "another process has been reading the file all the time, and its WAL has grown to " +
      std::to_string(pages * page_bytes_) + " bytes");
}

void AuditStore::checkpoint_all() {
  if (wal_pages_ == 0 && size_of(wal_path_) == 0) return;
  database_.set_busy_timeout(0);
  const int code = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE,
                                             nullptr, nullptr);
  database_.set_busy_timeout(kBusyTimeoutMs);
  if (code == SQLITE_OK) {
    wal_pages_ = 0;
  } else if ((code & 0xff) != SQLITE_BUSY) {
    database_.fail(code);
  }
}

std::uint64_t AuditStore::disk_bytes() const noexcept {
  return size_of(path_) + size_of(wal_path_);
}

void AuditStore::recover_wal() {
  rollback();
  const int code = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE,
                                             nullptr, nullptr);
  if (code != SQLITE_OK) database_.fail(code);
}

bool AuditStore::is_file_in_place() const noexcept {
  return identity_of(path_) == file_;
}

bool AuditStore::is_in_place() const noexcept {
  return is_file_in_place() && identity_of(wal_path_) == wal_file_ &&
         identity_of(shm_path_) == shm_file_;
}

void AuditStore::abandon_moved_file(std::int64_t now_ms) noexcept {
  rollback();
  const bool is_settled =
      sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr,
                                nullptr) == SQLITE_OK;
  // It may have been moved too, or replaced with the file.
  if (identity_of(wal_path_) != wal_file_) return;
  try {
    if (!is_settled) {
      const auto aside = wal_path_ + ".left-" + std::to_string(now_ms);
      if (::rename(wal_path_.c_str(), aside.c_str()) == 0) return;
    }
  } catch (const std::bad_alloc&) {
  }
  // Lost rather than applied to another file: an empty WAL holds nothing. If neither works, the
  // file system is read-only, and nothing is applied.
  if (::unlink(wal_path_.c_str()) == 0) return;
  [[maybe_unused]] const int truncated = ::truncate(wal_path_.c_str(), 0);
}

}  // namespace waystation
