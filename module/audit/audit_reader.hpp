// Reading an audit file, from any process, while another one writes it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "audit/sqlite.hpp"

namespace waystation {

enum class AuditOutcome : std::uint8_t { pushed, undelivered, dropped, gap };

inline constexpr AuditOutcome kAuditOutcomes[] = {AuditOutcome::pushed, AuditOutcome::undelivered,
                                                  AuditOutcome::dropped, AuditOutcome::gap};

/// "pushed", "undelivered", "dropped", "gap".
const char* text_of(AuditOutcome outcome) noexcept;
std::optional<AuditOutcome> parse_audit_outcome(std::string_view text) noexcept;

/// Which rows. What is empty does not matter.
struct AuditFilter {
  std::int64_t since = std::numeric_limits<std::int64_t>::min();  // ms since 1970
  std::int64_t until = std::numeric_limits<std::int64_t>::max();  // the first that is too late
  std::string user;                                               // sender or receiver
  std::string from;
  std::string to;
  unsigned outcomes = 0;  // bits 1 << AuditOutcome; 0: all. Gaps are always among what is read: any
                          // row may be what is missing

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
  std::optional<std::uint64_t> lost;  // of a gap: rows that are missing; nothing: nobody knows
  std::int64_t lost_until = 0;        // of a gap
};

/// Oldest first, a gap is where it began; newest first, where it ended, so that what has just
/// become known comes first.
enum class AuditOrder : std::uint8_t { oldest, newest };

/// The row after which to go on, in one order. Rows are in the order of their times, then of their
/// ids.
struct AuditCursor {
  std::int64_t at = 0;
  std::int64_t id = 0;

  /// The place of a row.
  static AuditCursor of(const AuditRow& row, AuditOrder order) noexcept;

  /// Text that fits into a URL, and back.
  std::string text() const;
  static std::optional<AuditCursor> parse(std::string_view text) noexcept;
};

struct AuditTotals {
  std::uint64_t pushed = 0;
  std::uint64_t undelivered = 0;
  std::uint64_t dropped = 0;
  std::uint64_t gaps = 0;
  std::uint64_t lost = 0;          // in the gaps whose size is known
  std::uint64_t unknown_gaps = 0;  // those whose size is not
  std::int64_t first_at = 0;       // of rows that are no gaps; 0: there is none
  std::int64_t last_at = 0;
};

struct AuditCount {
  std::string name;  // a user or a group
  std::uint64_t count = 0;
};

/// The answer took longer than was allowed.
class AuditTooSlow : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One thread at a time. Reads in short transactions, so that the writer's log can be moved into
/// the file however slowly the rows are used. Every function throws SqliteError.
class AuditReader {
 public:
  /// Throws AuditRefused where it is no audit file, or may not be read; std::system_error. Where no
  /// log can be made beside the file (a read-only file system) and none is there, the file is read
  /// as it lies there.
  explicit AuditReader(const std::string& path);
  AuditReader(const AuditReader&) = delete;  // SQLite has its address
  AuditReader& operator=(const AuditReader&) = delete;

  /// What is asked from now on must all be answered within so long; else AuditTooSlow.
  void set_deadline(std::chrono::milliseconds deadline);

  /// The first rows after `after` in that order; all of them where less than `limit` come.
  std::vector<AuditRow> page(const AuditFilter& filter, std::optional<AuditCursor> after,
                             std::size_t limit, AuditOrder order = AuditOrder::oldest);
  /// The newest rows, the oldest of them first. A gap is as new as its end.
  std::vector<AuditRow> newest(const AuditFilter& filter, std::size_t limit);
  /// Every row, oldest first, in the memory of one page. `take` says whether to go on.
  void each(const AuditFilter& filter, const std::function<bool(const AuditRow&)>& take);

  AuditTotals totals(const AuditFilter& filter);
  /// The receivers with most rows of an outcome, which is no gap, and the groups in which most was
  /// missed.
  std::vector<AuditCount> most_receivers(AuditOutcome outcome, const AuditFilter& filter,
                                         std::size_t limit);
  std::vector<AuditCount> most_missed_pairs(const AuditFilter& filter, std::size_t limit);

  /// How SQLite goes about page(), a step a line. Newest first, a line "gaps:" parts its two
  /// queries.
  std::string explain(const AuditFilter& filter, AuditOrder order);

 private:
  std::vector<AuditRow> rows(const std::string& sql, const AuditFilter& filter,
                             std::optional<AuditCursor> after, std::size_t limit, AuditOrder order);

  Database database_;
  std::chrono::steady_clock::time_point deadline_{};
};

}  // namespace waystation
