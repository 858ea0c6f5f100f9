#include "audit/audit_prune.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "audit/audit_file.hpp"
#include "audit/coverage.hpp"
#include "audit/sqlite.hpp"

namespace waystation {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// How long to wait for the writer, which holds its lock during a batch.
constexpr int kBusyTimeoutMs = 5000;
constexpr std::size_t kRows = 500;
constexpr int kPages = 256;
// Between two steps, and at least as long as a step took: SQLite's lock has no queue, so this is
// when the writer gets it.
constexpr auto kPause = 20ms;
// Steps between two checkpoints.
constexpr int kStepsPerCheckpoint = 20;
// A server whose WAL index was deleted recreates it within a second. Until then it does not see the
// locks of a process that made its own.
constexpr auto kIndexTimeout = 3s;

void wait_for_index(const std::string& path) {
  const auto end = Clock::now() + kIndexTimeout;
  while (size_of(path + "-wal") != 0 && size_of(path + "-shm") == 0 && Clock::now() < end) {
    std::this_thread::sleep_for(kPause);
  }
}

class Pruner {
 public:
  Pruner(const std::string& path, const AuditFilter& filter)
      : filter_(filter),
        reader_(path),
        database_(resolve_audit_path(path), Database::Access::write) {
    database_.set_busy_timeout(kBusyTimeoutMs);
    // Overwrites deleted rows: a user may have asked to be forgotten.
    database_.execute(
        "PRAGMA secure_delete = ON; PRAGMA synchronous = FULL; "
        "PRAGMA wal_autocheckpoint = 0");
    // With the time: another row may have the id by now.
    delete_ = Statement(database_, "DELETE FROM deliveries WHERE id = ?1 AND at = ?2", true);
    // A deletion for a user leaves no trace. A file of an earlier version has nowhere to record
    // one.
    if (!names_user() && database_.number("PRAGMA user_version") >= kCoverageVersion) {
      record_deleted_ = Statement(database_, DeletedRows::kRecord, true);
    }
  }

  void delete_rows(std::uint64_t& count) {
    std::optional<AuditCursor> after;
    for (int step = 1;; ++step) {
      // The search takes no write lock.
      const auto rows = reader_.page(filter_, after, kRows);
      pause_after([&] { count += delete_some(rows); });
      if (rows.size() < kRows) return;
      after = AuditCursor{rows.back().at, rows.back().id};
      if (step % kStepsPerCheckpoint == 0) checkpoint(SQLITE_CHECKPOINT_PASSIVE);
    }
  }

  void release_pages() {
    Statement shrink(database_, "PRAGMA incremental_vacuum(" + std::to_string(kPages) + ")");
    for (auto before = unused_pages(); before != 0;) {
      pause_after([&] { shrink.run(); });
      if (unused_pages() >= before) return;
      before = unused_pages();
    }
  }

  /// Removes deleted rows from the WAL too, unless another process is reading.
  void truncate_wal() {
    database_.set_busy_timeout(static_cast<int>(std::chrono::milliseconds(kPause).count()));
    checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
  }

 private:
  bool names_user() const noexcept {
    return !filter_.user.empty() || !filter_.from.empty() || !filter_.to.empty();
  }

  bool is_wanted(const AuditRow& row) const {
    if (row.outcome != AuditOutcome::gap) return true;
    return !names_user() && filter_.wants(AuditOutcome::gap) && row.at >= filter_.since &&
           row.lost_until < filter_.until;
  }

  std::uint64_t delete_some(const std::vector<AuditRow>& rows) {
    std::uint64_t count = 0;
    DeletedRows deleted;
    Transaction step(database_, Transaction::Kind::write);
    for (const AuditRow& row : rows) {
      if (!is_wanted(row)) continue;
      delete_.bind(1, row.id);
      delete_.bind(2, row.at);
      delete_.run();
      if (database_.changes() == 0) continue;
      ++count;
      deleted.add(std::max(row.at, row.lost_until), row.id);
    }
    if (record_deleted_) deleted.record(*record_deleted_);
    step.commit();
    return count;
  }

  template <typename Step>
  static void pause_after(Step step) {
    const auto begin = Clock::now();
    step();
    std::this_thread::sleep_for(std::max<Clock::duration>(kPause, Clock::now() - begin));
  }

  std::int64_t unused_pages() { return database_.number("PRAGMA freelist_count"); }

  void checkpoint(int mode) {
    const int code = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, mode, nullptr, nullptr);
    // Others may be in the way. After any other failure, deleted rows may still be in the WAL.
    if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) database_.fail(code);
  }

  const AuditFilter& filter_;
  AuditReader reader_;
  Database database_;
  Statement delete_;
  std::optional<Statement> record_deleted_;  // none: the deletion leaves no trace
};

}  // namespace

std::uint64_t prune_audit(const std::string& path, const AuditFilter& filter,
                          std::uint64_t* count) {
  std::uint64_t own_count = 0;
  std::uint64_t& pruned = count == nullptr ? own_count : *count;
  pruned = 0;
  wait_for_index(resolve_audit_path(path));
  Pruner pruner(path, filter);
  pruner.delete_rows(pruned);
  pruner.release_pages();
  pruner.truncate_wal();
  return pruned;
}

}  // namespace waystation
