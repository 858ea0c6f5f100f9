#include "audit/audit_store.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "audit/audit_run_file.hpp"
#include "audit/coverage.hpp"
#include "audit/migrations.hpp"

namespace waystation {
namespace {

// "Ways", in the header: identifies the file as an audit.
constexpr std::int64_t kApplicationId = 0x57617973;

// The WAL's file keeps this size after a checkpoint.
constexpr std::int64_t kWalBytesKept = 16 << 20;
// The largest file that is checked as a whole, which takes about a second. Damage in a larger one
// is found when it is read.
constexpr std::int64_t kFullCheckBytes = std::int64_t{256} << 20;

// What a deletion returns of each row.
constexpr std::string_view kReturning = "RETURNING max(at, ifnull(lost_until, at)), id";

std::string_view outcome_name(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::pushed:
      return "pushed";
    case Outcome::dropped:
      return "dropped";
    case Outcome::undelivered:
      return "undelivered";
    case Outcome::chat:
      break;  // makes no row
  }
  return {};
}

/// Refuses a database of another program or of a newer version. False: it is empty.
bool check_owner(Database& database, const std::string& path) {
  const auto refuse = [&](const std::string& why) { throw audit_file_refused(path, why); };
  const auto application = database.number("PRAGMA application_id");
  const bool is_empty = database.number("SELECT count(*) FROM sqlite_schema") == 0;
  const auto version = database.number("PRAGMA user_version");
  if (version > newest_audit_version() &&
      (is_empty || application == 0 || application == kApplicationId)) {
    refuse("a newer program made it (version " + std::to_string(version) +
           " of the tables; this program knows " + std::to_string(newest_audit_version()) +
           "); use that program, or name another file (this one was not changed)");
  }
  if (application != kApplicationId && (!is_empty || application != 0)) {
    refuse("it is a database of another program; name another file (this one was not changed)");
  }
  return !is_empty;
}

}  // namespace

bool refuse_foreign_audit(const std::string& path) {
  // Before SQLite opens it: on a named pipe, SQLite would block.
  if (!check_audit_file(path)) return false;
  try {
    Database database(path, Database::Access::peek);
    return check_owner(database, path);
  } catch (const SqliteError&) {
    return false;  // damaged, but not another program's
  }
}

void refuse_foreign_file(const std::string& path) {
  if (refuse_foreign_audit(path) || size_of(path) == 0) return;
  try {
    if (Database(path, Database::Access::peek).has_header()) return;
  } catch (const SqliteError&) {
    return;  // it cannot be read, which may pass
  }
  if (identity_of(path + "-wal") != FileIdentity{} || AuditRunFile::exists_for(path)) return;
  throw audit_file_refused(path,
                           "it is not an SQLite database; name another file, or move this one away "
                           "(it was not changed)");
}

int newest_audit_version() noexcept {
  return migrations().back().version;
}

AuditStore::AuditStore(const std::string& path, std::string node, bool full_check,
                       std::function<bool()> should_continue)
    : path_(path),
      wal_path_(path + "-wal"),
      shm_path_(path + "-shm"),
      node_(std::move(node)),
      made_private_(refuse_foreign_audit(path) && make_private(path)),
      file_(prepare_audit_file(path)),
      database_(path, Database::Access::write) {
  if (should_continue) install_progress_handler(std::move(should_continue));
  database_.skip_checkpoint_on_close();  // until it is known to be ours
  database_.set_busy_timeout(kBusyTimeoutMs);
  check_is_same_file();
  if (database_.is_read_only()) throw std::system_error(EROFS, std::generic_category(), path_);
  const bool is_new = !check_owner(database_, path_);
  // SQLite creates the other two files with the mode of the first, which may have been wider.
  for (const char* part : {"", "-wal", "-shm"}) {
    if (make_private(path_ + part)) made_private_ = true;
  }
  if (!is_new && full_check) {
    page_bytes_ = database_.number("PRAGMA page_size");
    if (database_.number("PRAGMA page_count") * page_bytes_ <= kFullCheckBytes) {
      const auto result = database_.text("PRAGMA quick_check(1)");
      if (result != "ok") throw SqliteError(SQLITE_CORRUPT, result);
    }
  }
  // Lets retention release pages in small steps. Has no effect on a file that has tables.
  if (is_new) database_.execute("PRAGMA auto_vacuum = INCREMENTAL");
  // In WAL mode readers do not block the writer, nor the writer readers.
  if (database_.text("PRAGMA journal_mode = WAL") != "wal") {
    throw SqliteError(
        SQLITE_CANTOPEN,
        "this file system does not support SQLite's WAL; name a file on a local disk");
  }
  // The cache holds the indexes of a file of the default size, over which new rows are spread. So a
  // batch writes each page once. The cache is released when the load ends. FULL syncs the WAL at
  // each commit, so that committed rows survive a power failure. At ten commits per second that is
  // cheap.
  database_.execute(
      "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; "
      "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 0; "
      "PRAGMA journal_size_limit = " +
      std::to_string(kWalBytesKept));
  migrate();
  page_bytes_ = database_.number("PRAGMA page_size");
  sqlite3_wal_hook(database_.get(), count_wal_pages, this);
  sqlite3_db_config(database_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  prepare_statements();
  check_is_same_file();
  wal_file_ = identity_of(wal_path_);
  shm_file_ = identity_of(shm_path_);
}

/// SQLite must have opened the file that was checked; it may have been replaced in between.
void AuditStore::check_is_same_file() const {
  int has_moved = 1;
  const int code =
      sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &has_moved);
  if (code != SQLITE_OK || has_moved != 0 || !is_file_in_place()) {
    throw SqliteError(SQLITE_CANTOPEN, "the file was replaced while it was opened");
  }
}

void AuditStore::prepare_statements() {
  insert_ = Statement(database_,
                      "INSERT INTO deliveries (at, group_name, from_user, to_user, outcome, "
                      "reached, bytes, message_id, node, run, message_key, taken, id) "
                      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                      true);
  insert_gap_ = Statement(database_,
                          "INSERT INTO deliveries (at, outcome, node, lost, lost_until, id) "
                          "VALUES (?, 'gap', ?, ?, ?, ?)",
                          true);
  // A gap counts as old as its end: a missing row may be from then.
  delete_before_ = Statement(database_,
                             "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries "
                             "INDEXED BY deliveries_by_time WHERE at < ?1 AND "
                             "ifnull(lost_until, at) < ?1 ORDER BY at LIMIT ?2) " +
                                 std::string(kReturning),
                             true);
  delete_oldest_ = Statement(database_,
                             "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries "
                             "INDEXED BY deliveries_by_time WHERE outcome <> 'gap' "
                             "ORDER BY at LIMIT ?) " +
                                 std::string(kReturning),
                             true);
  delete_gaps_ =
      Statement(database_,
                "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries "
                "INDEXED BY deliveries_not_pushed WHERE outcome <> 'pushed' AND "
                "outcome = 'gap' AND at < ?1 AND lost_until < ?1 ORDER BY at LIMIT ?2) " +
                    std::string(kReturning),
                true);
  oldest_ = Statement(database_,
                      "SELECT at FROM deliveries INDEXED BY deliveries_by_time "
                      "WHERE outcome <> 'gap' ORDER BY at LIMIT 1",
                      true);
  ids_ = Statement(database_,
                   "SELECT max(last_id, ifnull((SELECT max(id) FROM deliveries), 0)) FROM coverage",
                   true);
  set_last_id_ = Statement(database_, "UPDATE coverage SET last_id = ?", true);
  record_deleted_ = Statement(database_, DeletedRows::kRecord, true);
  page_count_ = Statement(database_, "PRAGMA page_count", true);
  free_count_ = Statement(database_, "PRAGMA freelist_count", true);
}

void AuditStore::set_progress_callback(std::function<void()> between) {
  install_progress_handler([between = std::move(between)] {
    between();
    return true;
  });
}

void AuditStore::install_progress_handler(std::function<bool()> between) {
  on_progress_ = std::move(between);
  constexpr int kSteps = 1000;
  database_.set_progress_handler(
      kSteps, [](void* store) { return static_cast<AuditStore*>(store)->on_progress_() ? 0 : 1; },
      this);
}

void AuditStore::migrate() {
  if (database_.number("PRAGMA user_version") == newest_audit_version()) return;
  Transaction all(database_, Transaction::Kind::write);
  // Again, now that this connection holds the write lock.
  check_owner(database_, path_);
  const auto version = database_.number("PRAGMA user_version");
  for (const auto& migration : migrations()) {
    if (migration.version <= version) continue;
    try {
      database_.execute(migration.sql);
    } catch (const SqliteError& error) {
      throw SqliteError(error.code(),
                        "in sql/" + std::string(migration.name) + ".sql: " + error.what());
    }
  }
  database_.execute("PRAGMA application_id = " + std::to_string(kApplicationId) +
                    "; PRAGMA user_version = " + std::to_string(newest_audit_version()));
  all.commit();
}

bool AuditStore::begin_run(std::int64_t started_at, std::optional<std::int64_t> missing_since) {
  Transaction whole(database_, Transaction::Kind::write);
  Statement last(
      database_,
      "SELECT id, started_at, ended_at FROM runs WHERE node = ? ORDER BY id DESC LIMIT 1");
  last.bind(1, node_);
  const bool has_last = last.step();
  const bool is_open = has_last && last.is_null(2);
  // This very run reopens the file after a fault: its rows still wait in the queue.
  const bool is_same = is_open && last.number(1) == started_at;
  const bool was_interrupted = is_open && !is_same;
  std::optional<std::int64_t> since = missing_since;
  if (was_interrupted && (!since || *since == last.number(1))) {
    // It ended while the file was open: nothing is missing up to its last row. A last row of the
    // future means that the clock was set back.
    since = std::min(last_at().value_or(last.number(1)), started_at);
  }
  if (is_same) run_ = last.number(0);
  last.reset();
  take_ids();
  // The end is not before the beginning, even if the clock was set back.
  if (since) insert(AuditGap{*since, std::max(started_at, *since), AuditGap::kUnknown});
  if (!is_same) {
    // One row for each start; the last thousand are enough.
    Statement(database_, "DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - 1000").run();
    Statement enter(database_, "INSERT INTO runs (node, started_at) VALUES (?, ?)");
    enter.bind(1, node_);
    enter.bind(2, started_at);
    enter.run();
    run_ = sqlite3_last_insert_rowid(database_.get());
  }
  store_ids();
  whole.commit();
  return since.has_value();
}

void AuditStore::end_run(std::int64_t now_ms) {
  Statement end(database_, "UPDATE runs SET ended_at = ? WHERE id = ?");
  end.bind(1, now_ms);
  end.bind(2, run_);
  end.run();
}

void AuditStore::begin() {
  batch_.reset();
  batch_ = std::make_unique<Transaction>(database_, Transaction::Kind::write);
  take_ids();
}

void AuditStore::insert(const Delivery& row) {
  insert_.bind(1, row.at);
  insert_.bind_or_null(2, row.group);
  insert_.bind_or_null(3, row.from);
  insert_.bind(4, row.to);
  insert_.bind(5, outcome_name(row.outcome));
  insert_.bind(6, static_cast<std::int64_t>(row.reached));
  insert_.bind(7, static_cast<std::int64_t>(row.bytes));
  insert_.bind_or_null(8, row.id);
  insert_.bind(9, node_);
  insert_.bind(10, run_);
  insert_.bind(11, static_cast<std::int64_t>(row.key));
  if (row.outcome == Outcome::dropped) {
    insert_.bind(12, static_cast<std::int64_t>(row.taken));
  } else {
    insert_.bind_null(12);
  }
  insert_.bind(13, next_id_++);
  insert_.run();
}

void AuditStore::insert(const AuditGap& gap) {
  insert_gap_.bind(1, gap.since);
  insert_gap_.bind(2, node_);
  if (gap.lost == AuditGap::kUnknown) {
    insert_gap_.bind_null(3);
  } else {
    insert_gap_.bind(3, gap.lost);
  }
  insert_gap_.bind(4, gap.until);
  insert_gap_.bind(5, next_id_++);
  insert_gap_.run();
}

/// Each row has an id that no row had before, so that a reader knows which rows are new to it.
/// SQLite alone would use the ids of deleted rows again.
void AuditStore::take_ids() {
  ids_.step();
  next_id_ = ids_.number(0) + 1;
  ids_.reset();
}

void AuditStore::store_ids() {
  set_last_id_.bind(1, next_id_ - 1);
  set_last_id_.run();
}

std::size_t AuditStore::delete_rows(Statement& deletion) {
  DeletedRows deleted;
  std::size_t rows = 0;
  for (; deletion.step(); ++rows) deleted.add(deletion.number(0), deletion.number(1));
  deletion.reset();
  deleted.record(record_deleted_);
  return rows;
}

std::size_t AuditStore::delete_before(std::int64_t time, std::size_t rows) {
  delete_before_.bind(1, time);
  delete_before_.bind(2, static_cast<std::int64_t>(rows));
  return delete_rows(delete_before_);
}

std::size_t AuditStore::delete_oldest(std::size_t rows) {
  delete_oldest_.bind(1, static_cast<std::int64_t>(rows));
  const auto retired = delete_rows(delete_oldest_);
  constexpr auto kAny = std::numeric_limits<std::int64_t>::max();
  const auto oldest = oldest_.step() ? oldest_.number(0) : kAny;
  oldest_.reset();
  delete_gaps_.bind(1, oldest);
  delete_gaps_.bind(2, static_cast<std::int64_t>(rows));
  return retired + delete_rows(delete_gaps_);
}

std::optional<std::int64_t> AuditStore::last_at() {
  Statement last(database_,
                 "SELECT at FROM deliveries WHERE node = ? AND outcome <> 'gap' "
                 "ORDER BY id DESC LIMIT 1");
  last.bind(1, node_);
  if (!last.step()) return std::nullopt;
  return last.number(0);
}

void AuditStore::release_memory() noexcept {
  sqlite3_db_release_memory(database_.get());
}

void AuditStore::commit() {
  store_ids();
  batch_->commit();
  batch_.reset();
}

void AuditStore::rollback() noexcept {
  batch_.reset();
}

std::int64_t AuditStore::used_bytes() {
  const auto file = file_bytes();
  free_count_.step();
  const auto free_pages = free_count_.number(0);
  free_count_.reset();
  return file - free_pages * page_bytes_;
}

std::int64_t AuditStore::file_bytes() {
  page_count_.step();
  const auto pages = page_count_.number(0);
  page_count_.reset();
  return pages * page_bytes_;
}

void AuditStore::shrink(std::int64_t pages) {
  // Each step of this statement releases one page; it must be run to its end.
  Statement(database_, "PRAGMA incremental_vacuum(" + std::to_string(pages) + ")").run();
}

}  // namespace waystation
