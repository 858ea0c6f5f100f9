// Queries of an audit file, in any process, while another one writes it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "audit/sqlite.hpp"
#include "relay/missed.hpp"

namespace waystation {

enum class AuditOutcome : std::uint8_t { pushed, undelivered, dropped, gap };

inline constexpr AuditOutcome kAuditOutcomes[] = {AuditOutcome::pushed, AuditOutcome::undelivered,
                                                  AuditOutcome::dropped, AuditOutcome::gap};

/// "pushed", "undelivered", "dropped", "gap".
const char* outcome_name(AuditOutcome outcome) noexcept;
std::optional<AuditOutcome> parse_audit_outcome(std::string_view text) noexcept;

/// Selects rows. An empty field selects all.
struct AuditFilter {
  std::int64_t since = std::numeric_limits<std::int64_t>::min();  // ms since 1970
  std::int64_t until = std::numeric_limits<std::int64_t>::max();  // exclusive
  std::string user;                                               // sender or receiver
  std::string from;
  std::string to;
  unsigned outcomes = 0;  // bits 1 << AuditOutcome; 0: all. Queries always return gaps too: any row
                          // may be missing there

  void add(AuditOutcome outcome) noexcept { outcomes |= 1U << static_cast<unsigned>(outcome); }
  bool wants(AuditOutcome outcome) const noexcept {
    return outcomes == 0 || (outcomes & (1U << static_cast<unsigned>(outcome))) != 0;
  }
};

struct AuditRow {
  std::int64_t id = 0;
  std::int64_t at = 0;  // ms since 1970; of a gap, when it began
  AuditOutcome outcome = AuditOutcome::undelivered;
  std::string node;
  std::string group;  // empty: the appliance's own notification, or a gap
  std::string from;
  std::string to;  // empty: a gap
  std::string message_id;
  std::uint64_t reached = 0;
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> lost;  // of a gap: number of missing rows, if known
  std::int64_t lost_until = 0;        // of a gap
};

/// In the order `oldest` (first), a gap is placed by its beginning; in `newest`, by its end.
enum class AuditOrder : std::uint8_t { oldest, newest };

/// The row after which the next page begins. Rows are ordered by time, then by id.
struct AuditCursor {
  std::int64_t at = 0;
  std::int64_t id = 0;

  /// The cursor of a row.
  static AuditCursor of(const AuditRow& row, AuditOrder order) noexcept;

  /// Text without characters that a URL must escape, and back.
  std::string text() const;
  static std::optional<AuditCursor> parse(std::string_view text) noexcept;
};

struct AuditTotals {
  std::uint64_t pushed = 0;
  std::uint64_t undelivered = 0;
  std::uint64_t dropped = 0;
  std::uint64_t gaps = 0;
  std::uint64_t lost = 0;          // in the gaps whose size is known
  std::uint64_t unknown_gaps = 0;  // gaps whose size is not known
  std::int64_t first_at = 0;       // of rows other than gaps; 0: there is none
  std::int64_t last_at = 0;
};

struct AuditCount {
  std::string name;  // a user or a group
  std::uint64_t count = 0;
};

/// The newest rows of a user that AuditReader::missed() counts. With more, its answer is not
/// complete.
inline constexpr std::int64_t kMaxMissedRows = 10'000;

/// A query took longer than its deadline, or should_continue() ended it.
class AuditTooSlow : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One thread at a time. Reads in short transactions, so that it never blocks a checkpoint of the
/// writer, however slowly the rows are used. Every function throws SqliteError.
class AuditReader {
 public:
  /// Throws AuditRefused if it is not an audit or may not be read; std::system_error. On a
  /// read-only file system, a file without a WAL is read without locks.
  ///
  /// `should_continue`, if given, is called now and then while this waits for another connection's
  /// lock, and during queries with a deadline. False ends them. It must not throw.
  explicit AuditReader(const std::string& path, std::function<bool()> should_continue = {});
  AuditReader(const AuditReader&) = delete;  // SQLite has its address
  AuditReader& operator=(const AuditReader&) = delete;

  /// All queries from now on together must end within `deadline`; otherwise they throw
  /// AuditTooSlow.
  void set_deadline(std::chrono::milliseconds deadline);

  /// The first `limit` rows after `after` in that order; fewer at the end.
  std::vector<AuditRow> page(const AuditFilter& filter, std::optional<AuditCursor> after,
                             std::size_t limit, AuditOrder order = AuditOrder::oldest);
  /// The newest `limit` rows, the oldest of them first. A gap is placed by its end.
  std::vector<AuditRow> newest(const AuditFilter& filter, std::size_t limit);
  /// Every row, oldest first, with the memory of one page, until `visit` returns false.
  void each(const AuditFilter& filter, const std::function<bool(const AuditRow&)>& visit);

  AuditTotals totals(const AuditFilter& filter);
  /// The `limit` receivers with the most rows of an outcome (not gap).
  std::vector<AuditCount> top_receivers(AuditOutcome outcome, const AuditFilter& filter,
                                        std::size_t limit);
  /// The `limit` groups with the most messages whose receiver was not present.
  std::vector<AuditCount> top_fallbacks(const AuditFilter& filter, std::size_t limit);

  /// What `user` missed by the rows of `node`; an empty node: of every node. `now_ms` is the time
  /// of the answer. Throws AuditRefused if an earlier version wrote the file.
  Missed missed(const std::string& user, const std::string& node, const MissedQuestion& question,
                std::int64_t now_ms);
  /// SQLite's query plan of missed(), one step a line.
  std::string explain_missed();

  /// SQLite's query plan of page(), one step a line. In the order `newest` a line "gaps:" separates
  /// its two queries.
  std::string explain(const AuditFilter& filter, AuditOrder order);

 private:
  std::vector<AuditRow> rows(const std::string& sql, const AuditFilter& filter,
                             std::optional<AuditCursor> after, std::size_t limit, AuditOrder order);

  Missed read_missed(const std::string& user, const std::string& node,
                     const MissedQuestion& question, std::int64_t now_ms);
  bool should_continue() const { return !should_continue_ || should_continue_(); }

  const std::string path_;  // as it was given, for error texts
  const std::function<bool()> should_continue_;
  Database database_;
  std::chrono::steady_clock::time_point deadline_{};
};

}  // namespace waystation
