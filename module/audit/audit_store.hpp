// The audit's file as its writer sees it: one open connection, and what is done with it.
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

/// Rows that are missing.
struct AuditGap {
  static constexpr std::int64_t kUnknown = -1;
  std::int64_t since = 0;  // ms since 1970
  std::int64_t until = 0;
  std::int64_t lost = 0;  // rows, or kUnknown
};

/// The newest tables that this program knows.
int newest_audit_version() noexcept;

/// Refuses another program's database and a newer program's audit, without so much as making its
/// log or changing its mode. What only its log knows is found when it is opened. True: it is an
/// audit; false: it is empty, damaged or not there. Throws AuditRefused.
bool refuse_foreign_audit(const std::string& path);

/// The file is sound, and another process does not let go of it.
class AuditHeld : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One thread. Every function throws SqliteError where SQLite fails; what was to be done is then
/// undone as a whole.
class AuditStore {
 public:
  /// How long another's lock is waited for.
  static constexpr int kBusyMs = 250;

  /// Opens the file, makes it if it is not there, and brings its tables to this program's version.
  /// `path` is one of resolve_audit_path(). Throws AuditRefused, std::system_error, SqliteError;
  /// where that is_corruption(), the file wants to be set aside.
  /// To look through a file may take seconds; `may_go_on`, if there is one, is asked meanwhile,
  /// must not throw, and where it says no, the constructor throws SqliteError (SQLITE_INTERRUPT).
  AuditStore(const std::string& path, std::string node, bool check_thoroughly,
             std::function<bool()> may_go_on = {});
  AuditStore(const AuditStore&) = delete;  // SQLite has its address
  AuditStore& operator=(const AuditStore&) = delete;

  /// From now on calls `between`, which must not throw, in the midst of statements: some ten times
  /// a millisecond while they run. A commit and the moving of the log are no statements, and take
  /// as long as they take.
  void call_between(std::function<void()> between);

  /// The file was readable by others, and is no longer.
  bool was_made_private() const noexcept { return made_private_; }

  /// Enters that this node writes from now on. If an earlier run of it never ended, or rows may be
  /// missing since `missing_since` for another reason, the time from then to `started_at` is a gap
  /// of unknown size, which is entered too; true says so.
  bool begin_run(std::int64_t started_at, std::optional<std::int64_t> missing_since);
  void end_run(std::int64_t now_ms);

  /// A batch. insert() and the rest are legal between begin() and commit(); what was begun and not
  /// committed is undone by the next begin(), by abandon() or at the end.
  void begin();
  void insert(const Delivery& row);
  void insert(const AuditGap& gap);
  /// Takes out up to `rows` of the oldest: those from before a time, or any. Returns how many. A
  /// gap is as old as its end.
  std::size_t retire_before(std::int64_t time, std::size_t rows);
  std::size_t retire_oldest(std::size_t rows);
  void commit();
  void abandon() noexcept;
  /// Gives memory back that only haste needs.
  void release_memory() noexcept;

  /// The time of the row that this node wrote last, in ms since 1970; nothing where there is none.
  std::optional<std::int64_t> last_at();

  /// Bytes of the file that are in use, and the file's own size once the log was moved into it.
  std::int64_t used_bytes();
  std::int64_t file_bytes();
  /// Gives up to `pages` unused pages back to the file system.
  void shrink(std::int64_t pages);

  /// Moves the log into the file where it has grown long. Throws AuditHeld where it keeps growing
  /// because somebody's reading does not end.
  void tend_log(std::int64_t max_log_bytes);
  /// Moves the whole log into the file and empties it, or as much as can be done without waiting
  /// for anybody. For moments with little to do.
  void settle_log();
  /// What the file and its log take on the disk.
  std::uint64_t disk_bytes() const noexcept;
  /// Whether the path still names the file that is open here.
  bool is_file_in_place() const noexcept;
  /// Whether that holds for its log and the log's index, too. A log that is not there is read by
  /// nobody else, and who finds no index makes another one, which knows none of the locks in ours.
  bool is_in_place() const noexcept;
  /// For a log that is no longer in place, and lives on in this connection alone: moves all of it
  /// into the file. Must be done before the connection is closed, which does it only where no other
  /// one is open. Where it throws, it can be tried again.
  void rescue_log();
  /// The log is not moved into the file when the connection is closed: the next one does it.
  void leave_log() noexcept { database_.leave_untouched(); }
  /// For a file that is no longer in place: puts the whole log into it, wherever it is now, and
  /// takes the log out of the way. SQLite would leave it, and play it back into the next file of
  /// that name.
  void part_from_file(std::int64_t now_ms) noexcept;

 private:
  void set_between(std::function<bool()> between);
  void check_is_same_file() const;
  void prepare_statements();
  void migrate();
  static int count_log_pages(void* store, sqlite3* handle, const char* name, int pages);

  const std::string path_;
  const std::string log_path_;
  const std::string index_path_;
  const std::string node_;
  bool made_private_ = false;
  const FileIdentity file_;
  FileIdentity log_file_;
  FileIdentity index_file_;
  std::int64_t page_bytes_ = 4096;
  std::int64_t log_pages_ = 0;
  std::int64_t run_ = 0;
  Database database_;
  Statement insert_;
  Statement insert_gap_;
  Statement retire_before_;
  Statement retire_oldest_;
  Statement retire_gaps_;
  Statement oldest_;
  Statement page_count_;
  Statement free_count_;
  std::unique_ptr<Transaction> batch_;
  std::function<bool()> between_;  // whether to go on with a statement
};

}  // namespace waystation
