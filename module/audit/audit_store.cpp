#include "audit/audit_store.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>

#include "audit/migrations.hpp"

namespace waystation {
namespace {

// "Ways", in the header, so that `file` and we know whose database it is.
constexpr std::int64_t kApplicationId = 0x57617973;

// The log is moved into the file when it is so long. A page that was written several times since is
// then moved once.
constexpr std::int64_t kLogBytes = 16 << 20;
// What is left of the log's file once it was moved.
constexpr std::int64_t kLogBytesKept = kLogBytes;
// The largest file that is read through before it is used. It takes about a second; damage in a
// larger one is found when it is met.
constexpr std::int64_t kThoroughBytes = std::int64_t{256} << 20;

std::string_view text_of(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::pushed: return "pushed";
    case Outcome::dropped: return "dropped";
    default: return "undelivered";
  }
}

/// The path, with a file at it.
const std::string& prepared(const std::string& path, bool* made_private) {
  prepare_audit_file(path, made_private);
  return path;
}

}  // namespace

void refuse_newer_audit(const std::string& path) {
  std::int64_t version = 0;
  try {
    version = Database(path, Database::Access::look).number("PRAGMA user_version");
  } catch (const SqliteError&) {
    return;  // whatever it is, it says of no newer program
  }
  if (version <= newest_audit_version()) return;
  throw AuditRefused("audit_file = \"" + path + "\": a newer program made it (version " +
                     std::to_string(version) + " of its tables; this one knows " +
                     std::to_string(newest_audit_version()) +
                     "); it was not touched: use that program, or name another file");
}

int newest_audit_version() noexcept { return migrations().back().version; }

AuditStore::AuditStore(const std::string& path, std::string node, bool check_thoroughly)
    : path_(path),
      node_(std::move(node)),
      database_(prepared(path, &made_private_), Database::Access::write) {
  file_ = identity_of(path_);
  database_.leave_untouched();  // until it is known to be ours
  database_.set_busy_timeout(kBusyMs);
  const auto version = database_.number("PRAGMA user_version");
  if (version > newest_audit_version()) {
    throw AuditRefused("audit_file = \"" + path_ + "\": a newer program made it (version " +
                       std::to_string(version) + " of its tables; this one knows " +
                       std::to_string(newest_audit_version()) +
                       "); it was not touched: use that program, or name another file");
  }
  const bool is_new = database_.number("SELECT count(*) FROM sqlite_schema") == 0;
  if (!is_new && database_.number("PRAGMA application_id") != kApplicationId) {
    throw AuditRefused("audit_file = \"" + path_ +
                       "\": it is a database of another program; it was not touched: name another "
                       "file");
  }
  if (database_.is_read_only()) {
    throw std::system_error(EROFS, std::generic_category(), path_);
  }
  if (!is_new && check_thoroughly) {
    page_bytes_ = database_.number("PRAGMA page_size");
    if (database_.number("PRAGMA page_count") * page_bytes_ <= kThoroughBytes) {
      const auto verdict = database_.text("PRAGMA quick_check(1)");
      if (verdict != "ok") throw SqliteError(SQLITE_CORRUPT, verdict);
    }
  }
  // So that what retention frees can be given back in small steps; says nothing to a file that has
  // tables already.
  if (is_new) database_.execute("PRAGMA auto_vacuum = INCREMENTAL");
  // Readers do not keep the writer waiting, nor it them.
  if (database_.text("PRAGMA journal_mode = WAL") != "wal") {
    throw SqliteError(SQLITE_CANTOPEN,
                      "this file system cannot hold a write-ahead log (is it a network's?)");
  }
  // The cache holds the indexes of a file of the usual size, so that a busy second's rows, which go
  // everywhere in them, write each page once; when it gets quiet it is given back.
  // FULL: the log is synced at each commit, so that what was committed also outlives the machine's
  // power. With commits a tenth of a second apart that costs little, and no one waits for it.
  database_.execute("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; "
                    "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 0; "
                    "PRAGMA journal_size_limit = " + std::to_string(kLogBytesKept));
  migrate();
  page_bytes_ = database_.number("PRAGMA page_size");
  sqlite3_wal_hook(database_.get(), count_log_pages, this);
  sqlite3_db_config(database_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);

  insert_ = Statement(database_,
                      "INSERT INTO deliveries (at, group_name, from_user, to_user, outcome, "
                      "reached, bytes, message_id, node) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                      true);
  insert_gap_ = Statement(database_,
                          "INSERT INTO deliveries (at, outcome, node, lost, lost_until) "
                          "VALUES (?, 'gap', ?, ?, ?)",
                          true);
  retire_before_ = Statement(database_,
                             "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries "
                             "INDEXED BY deliveries_by_time WHERE at < ? ORDER BY at LIMIT ?)",
                             true);
  retire_oldest_ = Statement(database_,
                             "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries "
                             "INDEXED BY deliveries_by_time ORDER BY at LIMIT ?)",
                             true);
  page_count_ = Statement(database_, "PRAGMA page_count", true);
  free_count_ = Statement(database_, "PRAGMA freelist_count", true);
  if (identity_of(path_) != file_) {
    throw SqliteError(SQLITE_CANTOPEN, "the file was replaced while it was opened");
  }
  log_file_ = identity_of(path_ + "-wal");
}

void AuditStore::migrate() {
  if (database_.number("PRAGMA user_version") == newest_audit_version()) return;
  Transaction all(database_, Transaction::Kind::write);
  // Again, now that no one else can be doing the same.
  const auto version = database_.number("PRAGMA user_version");
  for (const auto& migration : migrations()) {
    if (migration.version <= version) continue;
    try {
      database_.execute(migration.sql);
    } catch (const SqliteError& error) {
      throw SqliteError(error.code(), "in sql/" + std::string(migration.name) + ".sql: " +
                                          error.what());
    }
  }
  database_.execute("PRAGMA application_id = " + std::to_string(kApplicationId) +
                    "; PRAGMA user_version = " + std::to_string(newest_audit_version()));
  all.commit();
}

bool AuditStore::begin_run(std::int64_t started_at, std::int64_t now_ms) {
  Transaction whole(database_, Transaction::Kind::write);
  Statement last(database_,
                 "SELECT id, started_at, ended_at FROM runs WHERE node = ? ORDER BY id DESC LIMIT 1");
  last.bind(1, node_);
  bool was_cut = false;
  if (last.step()) {
    if (last.is_null(2) && last.number(1) == started_at) {
      // This very run, whose connection was lost for a while: what waited is still waiting.
      run_ = last.number(0);
      return false;
    }
    if (last.is_null(2)) {
      was_cut = true;
      AuditGap gap{last.number(1), now_ms, AuditGap::kUnknown};
      Statement newest(database_,
                       "SELECT max(at) FROM deliveries INDEXED BY deliveries_by_time");
      if (newest.step() && newest.number(0) > gap.since) gap.since = newest.number(0);
      if (gap.until < gap.since) gap.until = gap.since;  // the clock was set back
      newest.reset();
      Statement insert(database_,
                       "INSERT INTO deliveries (at, outcome, node, lost, lost_until) "
                       "VALUES (?, 'gap', ?, NULL, ?)");
      insert.bind(1, gap.since);
      insert.bind(2, node_);
      insert.bind(3, gap.until);
      insert.run();
    }
  }
  last.reset();
  // They are a row each start; no need to keep more than some.
  Statement forget(database_, "DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - 1000");
  forget.run();
  Statement enter(database_, "INSERT INTO runs (node, started_at) VALUES (?, ?)");
  enter.bind(1, node_);
  enter.bind(2, started_at);
  enter.run();
  run_ = sqlite3_last_insert_rowid(database_.get());
  whole.commit();
  return was_cut;
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
}

void AuditStore::insert(const Delivery& row) {
  insert_.bind(1, row.at);
  insert_.bind_or_null(2, row.group);
  insert_.bind_or_null(3, row.from);
  insert_.bind(4, row.to);
  insert_.bind(5, text_of(row.outcome));
  insert_.bind(6, static_cast<std::int64_t>(row.reached));
  insert_.bind(7, static_cast<std::int64_t>(row.bytes));
  insert_.bind_or_null(8, row.id);
  insert_.bind(9, node_);
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
  insert_gap_.run();
}

std::int64_t AuditStore::retire_before(std::int64_t time, std::int64_t rows) {
  retire_before_.bind(1, time);
  retire_before_.bind(2, rows);
  retire_before_.run();
  return database_.changes();
}

std::int64_t AuditStore::retire_oldest(std::int64_t rows) {
  retire_oldest_.bind(1, rows);
  retire_oldest_.run();
  return database_.changes();
}

void AuditStore::release_memory() noexcept { sqlite3_db_release_memory(database_.get()); }

void AuditStore::commit() {
  batch_->commit();
  batch_.reset();
}

void AuditStore::abandon() noexcept { batch_.reset(); }

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
  // A step of this statement is a page; it must be run to its end.
  Statement(database_, "PRAGMA incremental_vacuum(" + std::to_string(pages) + ")").run();
}

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
  if (code != SQLITE_OK && code != SQLITE_BUSY) database_.fail(code);
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
  throw AuditHeld("another process has been reading the file without an end, and its log has grown "
                  "to " + std::to_string(pages * page_bytes_) + " bytes");
}

bool AuditStore::is_file_in_place() const noexcept { return identity_of(path_) == file_; }

bool AuditStore::is_in_place() const noexcept {
  return is_file_in_place() && identity_of(path_ + "-wal") == log_file_;
}

void AuditStore::part_from_file(std::int64_t now_ms) noexcept {
  abandon();
  const bool is_settled =
      sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr,
                                nullptr) == SQLITE_OK;
  const std::string log = path_ + "-wal";
  if (identity_of(log) != log_file_) return;  // it went along, or another's came with the file
  if (is_settled) {
    ::unlink(log.c_str());
  } else {
    ::rename(log.c_str(), (log + ".left-" + std::to_string(now_ms)).c_str());
  }
}

}  // namespace waystation
