#include "audit/audit_reader.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <iterator>
#include <thread>
#include <utility>

#include "audit/audit_file.hpp"
#include "audit/audit_store.hpp"

namespace waystation {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kPageRows = 1000;
// How long to wait for another connection's lock: 2 s.
constexpr auto kBusyPause = 5ms;
constexpr int kMaxBusyPauses = 400;

constexpr std::string_view kColumns =
    "id, at, node, group_name, from_user, to_user, outcome, reached, bytes, message_id, lost, "
    "lost_until";

// The parameters of every query, by number.
constexpr int kSince = 1;  // the lower end of `at`, with the cursor in it
constexpr int kUntil = 2;  // the upper end; in the order `newest` the cursor is in it
constexpr int kAfterAt = 3;
constexpr int kAfterId = 4;
constexpr int kUser = 5;
constexpr int kFrom = 6;
constexpr int kTo = 7;
constexpr int kLimit = 8;
constexpr int kGapSince = 9;

std::string quoted_list(const AuditFilter& filter) {
  std::string list;
  for (const AuditOutcome outcome : kAuditOutcomes) {
    if (outcome == AuditOutcome::gap || !filter.wants(outcome)) continue;
    list += (list.empty() ? "'" : ", '") + std::string(outcome_name(outcome)) + "'";
  }
  return list;
}

/// The rows of a filter as SELECTs joined by UNION ALL, each of which follows one index in the
/// order of time. The index is named, so that new statistics cannot turn the plan into a full scan.
enum class Gaps : std::uint8_t { with, without, alone };

std::string selects(const AuditFilter& filter, Gaps gaps, AuditOrder order = AuditOrder::oldest) {
  const bool is_newest = order == AuditOrder::newest;
  // `?1` and `?2` limit the range of the index; the rest says exactly where a page begins.
  const std::string when = std::string(" AND at >= ?1 AND at < ?2 AND ") +
                           (is_newest ? "(at < ?3 OR id < ?4)" : "(at > ?3 OR id > ?4)");
  const std::string outcomes = quoted_list(filter);
  std::vector<std::string> parts;
  const auto add = [&](const std::string& index, const std::string& where) {
    parts.push_back("SELECT " + std::string(kColumns) + " FROM deliveries INDEXED BY " + index +
                    " WHERE " + where);
  };
  const bool all = filter.wants(AuditOutcome::pushed) && filter.wants(AuditOutcome::undelivered) &&
                   filter.wants(AuditOutcome::dropped);
  const std::string other = std::string(filter.from.empty() ? "" : " AND from_user = ?6") +
                            (filter.to.empty() ? "" : " AND to_user = ?7") + when +
                            (all ? "" : " AND outcome IN (" + outcomes + ")");
  if (outcomes.empty() || gaps == Gaps::alone) {
    // None.
  } else if (!filter.user.empty()) {
    // No row matches both: a group has two different users.
    add("deliveries_by_receiver", "to_user = ?5" + other);
    add("deliveries_by_sender", "from_user = ?5" + other);
  } else if (!filter.to.empty()) {
    add("deliveries_by_receiver", "to_user = ?7" + other);
  } else if (!filter.from.empty()) {
    add("deliveries_by_sender", "from_user = ?6" + other);
  } else if (filter.wants(AuditOutcome::pushed)) {
    add("deliveries_by_time", "outcome <> 'gap'" + other);
  } else {
    for (const AuditOutcome outcome : {AuditOutcome::undelivered, AuditOutcome::dropped}) {
      if (!filter.wants(outcome)) continue;
      add("deliveries_not_pushed",
          "outcome <> 'pushed' AND outcome = '" + std::string(outcome_name(outcome)) + "'" + when);
    }
  }
  if (gaps != Gaps::without) {
    // Including gaps that began before the time and reach into it.
    add("deliveries_not_pushed",
        std::string(
            "outcome <> 'pushed' AND outcome = 'gap' AND at < ?2 AND lost_until >= ?9 AND ") +
            (is_newest ? "lost_until <= ?3 AND (lost_until < ?3 OR id < ?4)"
                       : "at >= ?3 AND (at > ?3 OR id > ?4)"));
  }
  std::string sql;
  for (const std::string& part : parts) sql += (sql.empty() ? "" : " UNION ALL ") + part;
  return sql.empty() ? "SELECT " + std::string(kColumns) + " FROM deliveries WHERE 0" : sql;
}

/// Binds the parameters that the query has.
void bind_filter(Statement& statement, const AuditFilter& filter, std::optional<AuditCursor> after,
                 std::size_t limit, AuditOrder order = AuditOrder::oldest) {
  using Time = std::numeric_limits<std::int64_t>;
  const bool is_newest = order == AuditOrder::newest;
  const auto end = is_newest ? Time::max() : Time::min();
  const AuditCursor from = after.value_or(AuditCursor{end, end});
  const auto bind = [&](int parameter, const auto& value) {
    if (parameter <= statement.parameters()) statement.bind(parameter, value);
  };
  bind(kSince, is_newest ? filter.since : std::max(filter.since, from.at));
  bind(kUntil,
       is_newest && from.at != Time::max() ? std::min(filter.until, from.at + 1) : filter.until);
  bind(kAfterAt, from.at);
  bind(kAfterId, from.id);
  bind(kUser, std::string_view(filter.user));
  bind(kFrom, std::string_view(filter.from));
  bind(kTo, std::string_view(filter.to));
  bind(kLimit, static_cast<std::int64_t>(limit));
  bind(kGapSince, filter.since);
}

std::string oldest_query(const AuditFilter& filter) {
  return selects(filter, Gaps::with) + " ORDER BY at, id LIMIT ?8";
}

// The order `newest` sorts a gap by its end, which has no index. So one query returns the rows, and
// another one the gaps, which are few.
std::string newest_query(const AuditFilter& filter) {
  return selects(filter, Gaps::without, AuditOrder::newest) + " ORDER BY at DESC, id DESC LIMIT ?8";
}

std::string newest_gaps_query(const AuditFilter& filter) {
  return selects(filter, Gaps::alone, AuditOrder::newest) +
         " ORDER BY lost_until DESC, id DESC LIMIT ?8";
}

bool wants_rows(const AuditFilter& filter) {
  return !quoted_list(filter).empty();
}

/// Checks a file before it is opened.
const std::string& checked(const std::string& path) {
  check_readable_audit_file(path);
  return path;
}

void check_is_audit(Database& database, const std::string& path) {
  const auto refuse = [&](const std::string& why) { throw audit_file_refused(path, why); };
  std::int64_t version = 0;
  try {
    version = database.number("PRAGMA user_version");
    if (database.number("SELECT count(*) FROM sqlite_schema WHERE name = 'deliveries'") == 0) {
      version = 0;
    }
  } catch (const SqliteError& error) {
    if (!error.is_corruption()) throw;
    refuse("it is damaged or not an audit (" + std::string(error.what()) + ")");
  }
  if (version == 0) refuse("it is not an audit; name the file that the server writes (audit_file)");
  if (version > newest_audit_version()) {
    refuse("a newer program made it (version " + std::to_string(version) +
           " of the tables; this program knows " + std::to_string(newest_audit_version()) +
           "); read it with that program");
  }
}

using BusyHandler = int (*)(void*, int);

/// Opens a file and checks that it is an audit.
Database open_to_read(const std::string& path, BusyHandler on_busy, void* context) {
  const auto file = checked(resolve_audit_path(path));
  try {
    Database database(file, Database::Access::read);
    database.set_busy_handler(on_busy, context);
    check_is_audit(database, path);
    return database;
  } catch (const SqliteError& error) {
    // SQLite creates files for reading too. A file without a WAL has no writer there.
    const int code = error.primary_code();
    if ((code != SQLITE_CANTOPEN && code != SQLITE_READONLY) || size_of(file + "-wal") != 0) throw;
  }
  Database database(file, Database::Access::peek);
  check_is_audit(database, path);
  return database;
}

}  // namespace

const char* outcome_name(AuditOutcome outcome) noexcept {
  switch (outcome) {
    case AuditOutcome::pushed:
      return "pushed";
    case AuditOutcome::undelivered:
      return "undelivered";
    case AuditOutcome::dropped:
      return "dropped";
    case AuditOutcome::gap:
      return "gap";
  }
  return "gap";
}

std::optional<AuditOutcome> parse_audit_outcome(std::string_view text) noexcept {
  for (const AuditOutcome outcome : kAuditOutcomes) {
    if (text == outcome_name(outcome)) return outcome;
  }
  return std::nullopt;
}

AuditCursor AuditCursor::of(const AuditRow& row, AuditOrder order) noexcept {
  const bool is_end = order == AuditOrder::newest && row.outcome == AuditOutcome::gap;
  return {is_end ? row.lost_until : row.at, row.id};
}

std::string AuditCursor::text() const {
  return std::to_string(at) + "." + std::to_string(id);
}

std::optional<AuditCursor> AuditCursor::parse(std::string_view text) noexcept {
  AuditCursor cursor;
  const char* const end = text.data() + text.size();
  const auto at = std::from_chars(text.data(), end, cursor.at);
  if (at.ec != std::errc{} || at.ptr == end || *at.ptr != '.') return std::nullopt;
  const auto id = std::from_chars(at.ptr + 1, end, cursor.id);
  if (id.ec != std::errc{} || id.ptr != end) return std::nullopt;
  return cursor;
}

AuditReader::AuditReader(const std::string& path, std::function<bool()> should_continue)
    : path_(path),
      should_continue_(std::move(should_continue)),
      database_(open_to_read(
          path,
          [](void* context, int pauses) {
            const auto& reader = *static_cast<const AuditReader*>(context);
            if (pauses == kMaxBusyPauses || !reader.should_continue()) return 0;
            std::this_thread::sleep_for(kBusyPause);
            return 1;
          },
          this)) {}

void AuditReader::set_deadline(std::chrono::milliseconds deadline) {
  deadline_ = std::chrono::steady_clock::now() + deadline;
  constexpr int kSteps = 10'000;  // well below a millisecond
  database_.set_progress_handler(
      kSteps,
      [](void* context) {
        const auto& reader = *static_cast<AuditReader*>(context);
        const bool is_late = std::chrono::steady_clock::now() > reader.deadline_;
        return is_late || !reader.should_continue() ? 1 : 0;
      },
      this);
}

std::vector<AuditRow> AuditReader::rows(const std::string& sql, const AuditFilter& filter,
                                        std::optional<AuditCursor> after, std::size_t limit,
                                        AuditOrder order) {
  Statement statement(database_, sql);
  bind_filter(statement, filter, after, limit, order);
  std::vector<AuditRow> rows;
  try {
    while (statement.step()) {
      AuditRow& row = rows.emplace_back();
      row.id = statement.number(0);
      row.at = statement.number(1);
      row.node = statement.text(2);
      row.group = statement.text(3);
      row.from = statement.text(4);
      row.to = statement.text(5);
      row.outcome = parse_audit_outcome(statement.text(6)).value_or(AuditOutcome::undelivered);
      row.reached = static_cast<std::uint64_t>(statement.number(7));
      row.bytes = static_cast<std::uint64_t>(statement.number(8));
      row.message_id = statement.text(9);
      if (!statement.is_null(10)) row.lost = static_cast<std::uint64_t>(statement.number(10));
      row.lost_until = statement.number(11);
    }
  } catch (const SqliteError& error) {
    if (error.primary_code() != SQLITE_INTERRUPT) throw;
    throw AuditTooSlow("the query took too long; ask for a shorter time or for one user");
  }
  return rows;
}

std::vector<AuditRow> AuditReader::page(const AuditFilter& filter, std::optional<AuditCursor> after,
                                        std::size_t limit, AuditOrder order) {
  if (order == AuditOrder::oldest) {
    return rows(oldest_query(filter), filter, after, limit, order);
  }
  std::vector<AuditRow> found;
  if (wants_rows(filter)) found = rows(newest_query(filter), filter, after, limit, order);
  // A gap that began long ago and reaches into the time of these rows belongs to them.
  auto reaching = filter;
  if (found.size() == limit && limit != 0) reaching.since = std::max(filter.since, found.back().at);
  auto gaps = rows(newest_gaps_query(reaching), reaching, after, limit, order);
  std::ranges::move(gaps, std::back_inserter(found));
  std::ranges::sort(found, std::ranges::greater{}, [](const AuditRow& row) {
    const auto cursor = AuditCursor::of(row, AuditOrder::newest);
    return std::pair(cursor.at, cursor.id);
  });
  if (found.size() > limit) found.resize(limit);
  return found;
}

std::vector<AuditRow> AuditReader::newest(const AuditFilter& filter, std::size_t limit) {
  auto found = page(filter, {}, limit, AuditOrder::newest);
  std::ranges::sort(found, {}, [](const AuditRow& row) { return std::pair(row.at, row.id); });
  return found;
}

void AuditReader::each(const AuditFilter& filter,
                       const std::function<bool(const AuditRow&)>& visit) {
  std::optional<AuditCursor> after;
  for (;;) {
    const auto found = page(filter, after, kPageRows);
    for (const AuditRow& row : found) {
      if (!visit(row)) return;
    }
    if (found.size() < kPageRows) return;
    after = AuditCursor::of(found.back(), AuditOrder::oldest);
  }
}

AuditTotals AuditReader::totals(const AuditFilter& filter) {
  Statement statement(database_,
                      "SELECT outcome, count(*), sum(lost), sum(lost IS NULL), min(at), max(at) "
                      "FROM (" +
                          selects(filter, Gaps::with) + ") GROUP BY outcome");
  bind_filter(statement, filter, {}, 0);
  AuditTotals totals;
  while (statement.step()) {
    const auto count = static_cast<std::uint64_t>(statement.number(1));
    const auto outcome = parse_audit_outcome(statement.text(0)).value_or(AuditOutcome::gap);
    switch (outcome) {
      case AuditOutcome::pushed:
        totals.pushed = count;
        break;
      case AuditOutcome::undelivered:
        totals.undelivered = count;
        break;
      case AuditOutcome::dropped:
        totals.dropped = count;
        break;
      case AuditOutcome::gap:
        totals.gaps = count;
        totals.lost = static_cast<std::uint64_t>(statement.number(2));
        totals.unknown_gaps = static_cast<std::uint64_t>(statement.number(3));
        break;
    }
    if (outcome == AuditOutcome::gap) continue;  // it may begin before the first row
    const auto first = statement.number(4);
    if (totals.first_at == 0 || first < totals.first_at) totals.first_at = first;
    totals.last_at = std::max(totals.last_at, statement.number(5));
  }
  return totals;
}

namespace {

std::vector<AuditCount> counts(Database& database, const AuditFilter& filter,
                               const std::string& name, const std::string& where,
                               std::size_t limit) {
  Statement statement(database, "SELECT " + name + ", count(*) AS n FROM (" +
                                    selects(filter, Gaps::without) + ") WHERE " + where +
                                    " GROUP BY " + name + " ORDER BY n DESC, " + name +
                                    " LIMIT ?8");
  bind_filter(statement, filter, {}, limit);
  std::vector<AuditCount> found;
  while (statement.step()) {
    found.push_back(
        {std::string(statement.text(0)), static_cast<std::uint64_t>(statement.number(1))});
  }
  return found;
}

}  // namespace

std::vector<AuditCount> AuditReader::top_receivers(AuditOutcome outcome, const AuditFilter& filter,
                                                   std::size_t limit) {
  if (!filter.wants(outcome)) return {};
  auto alone = filter;  // so that an index skips the other outcomes
  alone.outcomes = 0;
  alone.add(outcome);
  return counts(database_, alone, "to_user", "to_user IS NOT NULL", limit);
}

std::vector<AuditCount> AuditReader::top_fallbacks(const AuditFilter& filter, std::size_t limit) {
  return counts(database_, filter, "group_name",
                "group_name IS NOT NULL AND outcome IN ('pushed', 'undelivered')", limit);
}

std::string AuditReader::explain(const AuditFilter& filter, AuditOrder order) {
  const auto plan_of = [&](const std::string& sql) {
    Statement statement(database_, "EXPLAIN QUERY PLAN " + sql);
    bind_filter(statement, filter, {}, kPageRows, order);
    std::string plan;
    while (statement.step()) plan += std::string(statement.text(3)) + "\n";
    return plan;
  };
  if (order == AuditOrder::oldest) return plan_of(oldest_query(filter));
  const auto plan = wants_rows(filter) ? plan_of(newest_query(filter)) : std::string();
  return plan + "gaps:\n" + plan_of(newest_gaps_query(filter));
}

}  // namespace waystation
