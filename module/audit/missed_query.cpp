// What a user missed: the queries behind AuditReader::missed().
#include <sqlite3.h>

#include <optional>
#include <string>
#include <utility>

#include "audit/audit_file.hpp"
#include "audit/audit_reader.hpp"
#include "audit/coverage.hpp"

namespace waystation {
namespace {

// The parameters, by number.
constexpr int kUser = 1;
constexpr int kSince = 2;    // the lower end of `at`
constexpr int kAfterId = 3;  // rows up to this id are known
constexpr int kNode = 4;     // NULL: every node
constexpr int kLimit = 5;

constexpr int kRows = 6;

// The newest rows only: the query's time must not grow with what a user missed. Rows of earlier
// versions have neither key nor `taken`, so that `dropped` does not count there. A message id has
// no
// '.', so the third kind of a message's name cannot be one. Without a sender there is still one
// row, for the number of rows.
constexpr const char* kMissed = R"sql(
WITH recent AS MATERIALIZED (
  SELECT at, from_user, outcome, run, message_key, taken,
         coalesce(message_id,
                  CASE outcome WHEN 'undelivered' THEN id ELSE run || '.' || message_key END)
           AS message
  FROM deliveries AS one INDEXED BY deliveries_missed
  WHERE outcome <> 'pushed' AND to_user = ?1 AND at >= ?2 AND id > ?3
    AND (?4 IS NULL OR node = ?4)
  ORDER BY at DESC LIMIT ?6),
missed AS (
  SELECT from_user, at, message FROM recent
  WHERE outcome = 'undelivered'
     OR (outcome = 'dropped'
         AND taken <= (SELECT count(*)
                       FROM deliveries AS other INDEXED BY deliveries_missed
                       WHERE other.outcome <> 'pushed' AND other.to_user = ?1
                         AND other.at = recent.at AND other.message_key = recent.message_key
                         AND other.outcome = 'dropped' AND other.run = recent.run)))
SELECT from_user, messages, first, last, (SELECT count(*) FROM recent)
FROM (SELECT 1) LEFT JOIN (
  SELECT from_user, count(DISTINCT message) AS messages, min(at) AS first, max(at) AS last
  FROM missed GROUP BY from_user)
ORDER BY from_user IS NOT NULL, last DESC, from_user LIMIT ?5)sql";

// A node's rows are complete since its first run at the earliest.
constexpr const char* kCoverage = R"sql(
SELECT file, last_id, deleted_id,
       max(complete_since,
           ifnull((SELECT min(started_at) FROM runs WHERE ?4 IS NULL OR node = ?4),
                  9223372036854775807))
FROM coverage)sql";

constexpr const char* kGap = R"sql(
SELECT 1 FROM deliveries INDEXED BY deliveries_not_pushed
WHERE outcome <> 'pushed' AND outcome = 'gap' AND lost_until >= ?2 AND id > ?3
  AND (?4 IS NULL OR node = ?4) LIMIT 1)sql";

/// The rows that a question is about.
struct Range {
  std::int64_t since;
  std::int64_t after_id;
};

void bind_range(Statement& statement, const Range& range, const std::string& node) {
  statement.bind(kSince, range.since);
  statement.bind(kAfterId, range.after_id);
  statement.bind_or_null(kNode, node);
}

}  // namespace

Missed AuditReader::missed(const std::string& user, const std::string& node,
                           const MissedQuestion& question, std::int64_t now_ms) {
  if (database_.number("PRAGMA user_version") < kCoverageVersion) {
    throw audit_file_refused(path_,
                             "an older program made it, and it does not say what a user missed; "
                             "start the server once, which updates it");
  }
  // No names in temporary files. The deadline bounds the memory.
  database_.execute("PRAGMA temp_store = MEMORY");
  try {
    // One state of the file for all queries.
    const Transaction snapshot(database_, Transaction::Kind::read);
    return read_missed(user, node, question, now_ms);
  } catch (const SqliteError& error) {
    if (error.primary_code() != SQLITE_INTERRUPT) throw;
    throw AuditTooSlow("the query took too long; ask again later, or with a later since");
  }
}

Missed AuditReader::read_missed(const std::string& user, const std::string& node,
                                const MissedQuestion& question, std::int64_t now_ms) {
  Statement coverage(database_, kCoverage);
  coverage.bind_or_null(kNode, node);
  if (!coverage.step()) throw SqliteError(SQLITE_CORRUPT, "the table coverage is empty");
  const auto file = coverage.number(0);
  const auto last_id = coverage.number(1);
  const auto deleted_id = coverage.number(2);
  const auto complete_since = coverage.number(3);

  // A cursor of another file or node says only until when its answer was.
  std::optional<MissedPosition> after;
  if (question.after) after = question.after->on(node);
  const bool is_known = after && after->file == file && after->id <= last_id;
  Range range{after ? after->time : question.since, 0};
  Missed missed;
  if (is_known) {
    // The times do not matter: a row is often written long after its message.
    range = {0, after->id};
    missed.complete = after->id >= deleted_id;
  } else {
    missed.complete = range.since >= complete_since;
  }

  Statement gap(database_, kGap);
  bind_range(gap, range, node);
  if (gap.step()) missed.complete = false;

  Statement rows(database_, kMissed);
  rows.bind(kUser, std::string_view(user));
  bind_range(rows, range, node);
  // One sender more, to know whether there are more, and the notifications.
  rows.bind(kLimit, static_cast<std::int64_t>(kMaxMissedSenders + 2));
  rows.bind(kRows, static_cast<std::int64_t>(kMaxMissedRows));
  while (rows.step()) {
    if (rows.number(4) == kMaxMissedRows) missed.complete = false;
    const auto count = static_cast<std::uint64_t>(rows.number(1));
    if (rows.is_null(0)) {
      missed.notifications = count;
    } else if (missed.from.size() == kMaxMissedSenders) {
      missed.complete = false;
      break;
    } else {
      missed.from.push_back({std::string(rows.text(0)), count, rows.number(2), rows.number(3)});
    }
  }
  missed.next = MissedCursor{{{now_ms, last_id, file, node}}}.text();
  return missed;
}

std::string AuditReader::explain_missed() {
  Statement statement(database_, std::string("EXPLAIN QUERY PLAN ") + kMissed);
  std::string plan;
  while (statement.step()) plan += std::string(statement.text(3)) + "\n";
  return plan;
}

}  // namespace waystation
