// The audit's file, opened for writing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "audit/audit_file.hpp"
#include "audit/sqlite.hpp"
#include "relay/observer.hpp"

namespace waystation {

/// A time in which rows are missing.
struct AuditGap {
  static constexpr std::int64_t kUnknown = -1;
  std::int64_t since = 0;  // ms since 1970
  std::int64_t until = 0;
  std::int64_t lost = 0;  // number of rows, or kUnknown
};

/// The schema version that this program writes, and the newest that it reads.
int newest_audit_version() noexcept;

/// Refuses another program's database and a newer program's audit, and changes nothing: neither
/// the file's mode, nor a WAL. Does not read the WAL; opening the file does. True: it is an audit;
/// false: it is empty, damaged or absent. Throws AuditRefused.
bool refuse_foreign_audit(const std::string& path);

/// The same at the start of a run, and refuses a file that is neither empty nor an SQLite database:
/// another program's. With a WAL or the file of a run next to it, it is an audit that was damaged.
void refuse_foreign_file(const std::string& path);

/// The file is sound, but a long read of another process keeps its WAL from being emptied.
class AuditBlocked : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One thread at a time. Every function that is not noexcept throws SqliteError if SQLite fails,
/// and has then no effect.
class AuditStore {
 public:
  /// How long to wait for another process's lock.
  static constexpr int kBusyTimeoutMs = 250;

  /// Opens or creates the file, and migrates its tables to this program's version. `path` is a
  /// result of resolve_audit_path(). Throws AuditRefused, std::system_error, SqliteError; if that
  /// is_corruption(), the caller should set the file aside.
  ///
  /// `full_check` reads the whole file, which may take seconds. `should_continue` (may be empty,
  /// must not throw) is called meanwhile; if it returns false, the constructor throws SqliteError
  /// with SQLITE_INTERRUPT.
  AuditStore(const std::string& path, std::string node, bool full_check,
             std::function<bool()> should_continue = {});
  AuditStore(const AuditStore&) = delete;  // SQLite has its address
  AuditStore& operator=(const AuditStore&) = delete;

  /// From now on calls `on_progress`, which must not throw, about ten times a millisecond while a
  /// statement runs. Commits and checkpoints do not call it.
  void set_progress_callback(std::function<void()> on_progress);

  /// Other users could read the file before it was opened here.
  bool was_made_private() const noexcept { return made_private_; }

  /// Records that a run of this node started. If the last run did not end, or rows are missing
  /// since `missing_since`, also inserts a gap of unknown size from then to `started_at`, and
  /// returns true.
  bool begin_run(std::int64_t started_at, std::optional<std::int64_t> missing_since);
  void end_run(std::int64_t now_ms);

  /// A transaction. insert() and delete_*() belong between begin() and commit(). The next begin(),
  /// rollback() and the destructor undo a transaction that was not committed.
  void begin();
  void insert(const Delivery& row);
  void insert(const AuditGap& gap);
  /// Delete up to `rows` of the oldest rows, before a time or at all, and return their number. A
  /// gap counts as old as its end. The file then records that it is complete since a later time.
  std::size_t delete_before(std::int64_t time, std::size_t rows);
  std::size_t delete_oldest(std::size_t rows);
  void commit();
  void rollback() noexcept;
  /// Releases SQLite's page cache.
  void release_memory() noexcept;

  /// The time of the last row of this node, in ms since 1970, if there is one.
  std::optional<std::int64_t> last_at();

  /// Bytes in use, and the file's size after a checkpoint.
  std::int64_t used_bytes();
  std::int64_t file_bytes();
  /// Releases up to `pages` unused pages to the file system.
  void shrink(std::int64_t pages);

  /// Checkpoints a WAL of 16 MiB or more. Throws AuditBlocked if it is longer than `max_wal_bytes`
  /// because another process has been reading all the time.
  void checkpoint_if_large(std::int64_t max_wal_bytes);
  /// Checkpoints and truncates the WAL, as far as that is possible without waiting for readers.
  void checkpoint_all();
  /// Bytes of the file and its WAL on the disk.
  std::uint64_t disk_bytes() const noexcept;
  /// Whether the path still names the file that is open here.
  bool is_file_in_place() const noexcept;
  /// The same for the file, its WAL and the WAL's index (-shm). No other process reads a WAL that
  /// was deleted; one that finds no index makes its own, without the locks in ours.
  bool is_in_place() const noexcept;
  /// Checkpoints a WAL that was deleted and exists in this connection only. To be called before the
  /// connection is closed: closing does it only if no other connection is open. May be tried again.
  void recover_wal();
  /// Closing does not checkpoint; the next connection does.
  void skip_checkpoint_on_close() noexcept { database_.skip_checkpoint_on_close(); }
  /// For a file that was moved or replaced: checkpoints into it, wherever it is now, and removes
  /// its WAL. SQLite would leave the WAL and apply it to the next file of that name.
  void abandon_moved_file(std::int64_t now_ms) noexcept;

 private:
  void take_ids();
  void store_ids();
  std::size_t delete_rows(Statement& deletion);
  void install_progress_handler(std::function<bool()> between);
  void check_is_same_file() const;
  void prepare_statements();
  void migrate();
  static int count_wal_pages(void* store, sqlite3* handle, const char* name, int pages);

  const std::string path_;
  const std::string wal_path_;
  const std::string shm_path_;
  const std::string node_;
  bool made_private_ = false;
  const FileIdentity file_;
  FileIdentity wal_file_;
  FileIdentity shm_file_;
  std::int64_t page_bytes_ = 4096;
  std::int64_t wal_pages_ = 0;
  std::int64_t run_ = 0;
  std::int64_t next_id_ = 0;  // in a transaction
  Database database_;
  Statement insert_;
  Statement insert_gap_;
  Statement delete_before_;
  Statement delete_oldest_;
  Statement delete_gaps_;
  Statement oldest_;
  Statement ids_;
  Statement set_last_id_;
  Statement record_deleted_;
  Statement page_count_;
  Statement free_count_;
  std::unique_ptr<Transaction> batch_;
  std::function<bool()> on_progress_;  // false interrupts the statement
};

}  // namespace waystation
