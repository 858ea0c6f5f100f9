#include "embed/audit_command.hpp"

#include <waystation/waystation.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "embed/audit_time.hpp"
#include "embed/log.hpp"
#include "embed/options.hpp"
#include "embed/relay_options.hpp"

namespace waystation::server {
namespace {

// Rows per block. Columns are aligned within a block, so a long list needs no memory for all rows.
constexpr std::size_t kBlockRows = 1000;

constexpr std::array kOutcomes{
    std::pair{"pushed", WAYSTATION_PUSHED}, std::pair{"undelivered", WAYSTATION_UNDELIVERED},
    std::pair{"dropped", WAYSTATION_DROPPED}, std::pair{"gap", WAYSTATION_GAP}};

const char* outcome_name(waystation_outcome outcome) {
  const auto found =
      std::ranges::find_if(kOutcomes, [&](const auto& pair) { return pair.second == outcome; });
  return found == kOutcomes.end() ? "unknown" : found->first;
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::int64_t time_of(const char* flag, const std::string& text, std::int64_t now) {
  if (text.empty()) return 0;
  const auto time = parse_time(text, now);
  if (!time) {
    throw ConfigurationError{std::string{flag} + " " + quoted(text) +
                             ": not a time; allowed: " + std::string{allowed_times()}};
  }
  return *time;
}

/// Reads --limit. `zero` describes the meaning of 0.
std::uint64_t limit_of(const AuditRequest& request, const char* zero) {
  const char* const end = request.limit.data() + request.limit.size();
  std::uint64_t limit = 0;
  const auto [stop, error] = std::from_chars(request.limit.data(), end, limit);
  if (error != std::errc{} || stop != end) {
    throw ConfigurationError{"--limit " + quoted(request.limit) +
                             ": not a whole number; allowed: 0 (" + zero + ") and more"};
  }
  return limit;
}

/// The library's filter. It points into the request. The library checks the users.
waystation_audit_filter filter_of(const AuditRequest& request) {
  waystation_audit_filter filter{};
  filter.size = sizeof filter;
  const auto now = now_ms();
  filter.since = time_of("--since", request.since, now);
  filter.until = time_of("--until", request.until, now);
  if (!request.since.empty() && !request.until.empty() && filter.since >= filter.until) {
    throw ConfigurationError{"--since " + quoted(request.since) + " is " +
                             local_time(filter.since) + ", and --until " + quoted(request.until) +
                             (filter.since == filter.until ? " is the same" : " is before that, ") +
                             (filter.since == filter.until ? "" : local_time(filter.until)) +
                             ": nothing can lie between them; allowed: a --since before --until"};
  }
  // The library reads 0 as "no limit". Only gaps without a known start are older than 1970.
  if (!request.until.empty() && filter.until == 0) filter.until = -1;
  filter.user = request.user.c_str();
  filter.from = request.from.c_str();
  filter.to = request.to.c_str();
  for (const auto& text : request.outcomes) {
    const auto found =
        std::ranges::find_if(kOutcomes, [&](const auto& pair) { return pair.first == text; });
    if (found == kOutcomes.end()) {
      throw ConfigurationError{"--outcome " + quoted(text) +
                               ": unknown value; allowed: pushed, undelivered, dropped or gap"};
    }
    filter.outcomes |= 1U << found->second;
  }
  return filter;
}

struct Close {
  void operator()(waystation_audit* audit) const { waystation_audit_close(audit); }
};

/// An open audit. Turns the library's errors into exceptions.
class AuditHandle {
 public:
  explicit AuditHandle(const std::string& file) {
    waystation_audit* audit = nullptr;
    LibraryError error;
    const auto status = waystation_audit_open(file.c_str(), &audit, error);
    audit_.reset(audit);
    error.check(status);
  }

  template <typename Visit>
  void read(const waystation_audit_filter& filter, std::uint64_t newest, Visit visit) {
    LibraryError error;
    error.check(waystation_audit_read(
        audit_.get(), &filter, newest,
        [](void* function, const waystation_audit_row* row) {
          return (*static_cast<Visit*>(function))(*row) ? 1 : 0;
        },
        &visit, error));
  }

  waystation_audit_counts counts(const waystation_audit_filter& filter) {
    waystation_audit_counts counts{};
    counts.size = sizeof counts;
    LibraryError error;
    error.check(waystation_audit_count(audit_.get(), &filter, &counts, error));
    return counts;
  }

  template <typename Visit>
  void top(const waystation_audit_filter& filter, waystation_audit_ranking ranking,
           std::uint64_t limit, Visit visit) {
    LibraryError error;
    error.check(waystation_audit_top(
        audit_.get(), &filter, ranking, limit,
        [](void* function, const char* name, uint64_t count) {
          (*static_cast<Visit*>(function))(name, count);
          return 1;
        },
        &visit, error));
  }

  template <typename Visit>
  waystation_missed_result missed(const std::string& user, std::int64_t since, Visit visit) {
    waystation_missed_result result{};
    result.size = sizeof result;
    LibraryError error;
    error.check(waystation_audit_missed(
        audit_.get(), user.c_str(), since,
        [](void* function, const waystation_missed_sender* sender) {
          (*static_cast<Visit*>(function))(*sender);
          return 1;
        },
        &visit, &result, error));
    return result;
  }

 private:
  std::unique_ptr<waystation_audit, Close> audit_;
};

/// Writes to standard output and records the first error, because a callback of the library must
/// not throw.
class Output {
 public:
  bool write(std::string_view text) {
    if (error_ == 0 && std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
      error_ = errno;
    }
    return error_ == 0;
  }
  void finish() {
    if (error_ == 0 && std::fflush(stdout) != 0) error_ = errno;
    if (error_ != 0) {
      throw std::runtime_error{std::string{"standard output: write error: "} +
                               std::strerror(error_)};
    }
  }

 private:
  int error_ = 0;  // errno of the first failed write
};

/// A name for a table, escaped: the file may hold control characters.
std::string shown(const char* text) {
  return text == nullptr ? "-" : escape_for_log(text, false);
}

std::string rows_text(std::int64_t rows) {
  if (rows < 0) return "an unknown number of rows";
  return std::to_string(rows) + (rows == 1 ? " row" : " rows");
}

// ---- list

/// A table that is written in blocks. A column never gets narrower.
class Table {
 public:
  explicit Table(Output& out) : out_(out) {}

  bool add(const waystation_audit_row& row) {
    if (row.outcome == WAYSTATION_GAP) {
      lines_.push_back(
          {local_time(row.at), "", "", "", "", "", "", "",
           std::string{row.lost == 1 ? "-- 1 row is" : "-- " + rows_text(row.lost) + " are"} +
               " missing, until " + local_time(row.lost_until)});
    } else {
      lines_.push_back({local_time(row.at), shown(row.from), shown(row.to),
                        outcome_name(row.outcome), std::to_string(row.reached),
                        std::to_string(row.bytes), shown(row.message_id), shown(row.node), ""});
    }
    return lines_.size() < kBlockRows || write();
  }

  bool write() {
    for (const auto& line : lines_) {
      for (std::size_t i = 0; i < kColumns; ++i) width_[i] = std::max(width_[i], line[i].size());
    }
    if (!is_begun_ && !lines_.empty()) write_line(kHeads);
    is_begun_ = is_begun_ || !lines_.empty();
    bool is_good = true;
    for (const auto& line : lines_) is_good = write_line(line);
    lines_.clear();
    return is_good;
  }

  bool is_empty() const { return !is_begun_ && lines_.empty(); }

 private:
  static constexpr std::size_t kColumns = 8;
  using Line = std::array<std::string, kColumns + 1>;  // the last one replaces columns 2 and later
  inline static const Line kHeads{"TIME",  "FROM",       "TO",   "OUTCOME", "REACHED",
                                  "BYTES", "MESSAGE ID", "NODE", ""};

  bool write_line(const Line& line) {
    std::string text;
    const auto put = [&](std::size_t i, const std::string& word) {
      const std::string pad(width_[i] - std::min(word.size(), width_[i]), ' ');
      const bool is_number = i == 4 || i == 5;
      text += (text.empty() ? "" : "  ") + (is_number ? pad + word : word + pad);
    };
    put(0, line[0]);
    if (!line[kColumns].empty()) {
      text += "  " + line[kColumns];
    } else {
      for (std::size_t i = 1; i < kColumns; ++i) put(i, line[i]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return out_.write(text + "\n");
  }

  Output& out_;
  std::array<std::size_t, kColumns> width_{23, 4, 2, 11, 7, 5, 10, 4};
  std::vector<Line> lines_;
  bool is_begun_ = false;
};

// ---- export

/// A field of CSV (RFC 4180). Fields that a spreadsheet reads as a formula are not changed.
std::string csv(const char* text) {
  const std::string_view field = text == nullptr ? "" : text;
  if (field.find_first_of(",\"\r\n") == std::string_view::npos) return std::string{field};
  std::string quoted = "\"";
  for (const char c : field) quoted += c == '"' ? std::string{"\"\""} : std::string{c};
  return quoted + '"';
}

std::string json(const char* text) {
  return text == nullptr ? "null" : '"' + escape_for_log(text, true) + '"';
}

std::string csv_line(const waystation_audit_row& row) {
  const bool is_gap = row.outcome == WAYSTATION_GAP;
  std::string line = std::to_string(row.id) + ',' + std::to_string(row.at) + ',' +
                     utc_time(row.at) + ',' + csv(row.node) + ',' + csv(row.group) + ',' +
                     csv(row.from) + ',' + csv(row.to) + ',' + outcome_name(row.outcome) + ',';
  // Fields that are unknown or do not apply are empty.
  line += is_gap ? "," : std::to_string(row.reached) + ',' + std::to_string(row.bytes);
  line += ',' + csv(row.message_id) + ',';
  if (is_gap) {
    line += (row.lost < 0 ? "" : std::to_string(row.lost)) + ',' + std::to_string(row.lost_until);
  } else {
    line += ',';
  }
  return line + "\r\n";
}

/// Uses the keys of GET /api/v1/audit.
std::string json_line(const waystation_audit_row& row) {
  const bool is_gap = row.outcome == WAYSTATION_GAP;
  std::string line = "{\"id\":" + std::to_string(row.id) + ",\"at\":" + std::to_string(row.at) +
                     ",\"node\":" + json(row.node) + ",\"group\":" + json(row.group) +
                     ",\"from\":" + json(row.from) + ",\"to\":" + json(row.to) + ",\"outcome\":\"" +
                     outcome_name(row.outcome) +
                     "\",\"reached\":" + (is_gap ? "null" : std::to_string(row.reached)) +
                     ",\"bytes\":" + (is_gap ? "null" : std::to_string(row.bytes)) +
                     ",\"message_id\":" + json(row.message_id);
  if (is_gap) {
    line += ",\"lost\":" + (row.lost < 0 ? "null" : std::to_string(row.lost)) +
            ",\"lost_until\":" + std::to_string(row.lost_until);
  }
  return line + "}\n";
}

// ---- prune

struct Pruned {
  std::uint64_t rows = 0;  // gaps included
  std::uint64_t gaps = 0;
  std::int64_t first_at = 0;  // time of the first row that is not a gap; 0: none
  std::int64_t last_at = 0;
};

bool names_a_user(const AuditRequest& request) {
  return !request.user.empty() || !request.from.empty() || !request.to.empty();
}

/// The rows that waystation_audit_prune would delete now.
Pruned prunable(const AuditRequest& request, const waystation_audit_filter& filter) {
  AuditHandle audit{request.file};
  const auto counts = audit.counts(filter);
  Pruned pruned{counts.pushed + counts.undelivered + counts.dropped, 0, counts.first_at,
                counts.last_at};
  const bool wants_gaps = filter.outcomes == 0 || (filter.outcomes & 1U << WAYSTATION_GAP) != 0;
  if (names_a_user(request) || !wants_gaps) return pruned;
  auto gaps = filter;
  gaps.outcomes = 1U << WAYSTATION_GAP;
  audit.read(gaps, 0, [&](const waystation_audit_row& gap) {
    const bool is_within = (filter.since == 0 || gap.at >= filter.since) &&
                           (filter.until == 0 || gap.lost_until < filter.until);
    if (is_within) ++pruned.gaps;
    return true;
  });
  pruned.rows += pruned.gaps;
  return pruned;
}

std::string describe(const Pruned& pruned, const char* singular, const char* plural) {
  auto text = rows_text(static_cast<std::int64_t>(pruned.rows)) + " " +
              (pruned.rows == 1 ? singular : plural);
  if (pruned.rows != 0 && pruned.first_at != 0) {
    text += ", " + local_time(pruned.first_at);
    if (pruned.last_at != pruned.first_at) text += " to " + local_time(pruned.last_at);
  }
  if (pruned.rows != 0 && pruned.gaps != 0) {
    text += pruned.rows == 1 ? ", a gap"
                             : ", " + std::to_string(pruned.gaps) +
                                   (pruned.gaps == 1 ? " of them a gap" : " of them gaps");
  }
  return text + ".\n";
}

}  // namespace

int audit_list(const AuditRequest& request) {
  const auto filter = filter_of(request);
  const auto limit = limit_of(request, "all");
  AuditHandle audit{request.file};
  Output out;
  Table table{out};
  std::uint64_t rows = 0;
  audit.read(filter, limit, [&](const waystation_audit_row& row) {
    ++rows;
    return table.add(row);
  });
  table.write();
  if (rows == 0) out.write("No rows match.\n");
  out.finish();
  if (limit != 0 && rows == limit) {
    std::fprintf(
        stderr,
        "Only the newest %llu rows; use --limit 0 for all, or --since and --user to filter.\n",
        static_cast<unsigned long long>(rows));
  }
  return 0;
}

int audit_stats(const AuditRequest& request) {
  const auto filter = filter_of(request);
  const auto limit = limit_of(request, "nobody");
  AuditHandle audit{request.file};
  const auto counts = audit.counts(filter);
  Output out;
  const auto line = [&](const char* name, const std::string& value) {
    std::array<char, 24> head{};
    std::snprintf(head.data(), head.size(), "%-14s", name);
    out.write(std::string{head.data()} + value + "\n");
  };
  line("pushed", std::to_string(counts.pushed));
  line("undelivered", std::to_string(counts.undelivered));
  line("dropped", std::to_string(counts.dropped));
  std::string gaps = std::to_string(counts.gaps);
  if (counts.gaps != 0) {
    const auto known = counts.gaps - counts.unknown_gaps;
    const auto lost = rows_text(static_cast<std::int64_t>(counts.lost)) + " missing";
    if (counts.unknown_gaps == 0) {
      gaps += ", with " + lost;
    } else if (known == 0) {
      gaps += ", with " + rows_text(-1) + " missing";
    } else {
      gaps += ", with " + lost + " in " + std::to_string(known) + " and an unknown number in " +
              std::to_string(counts.unknown_gaps);
    }
  }
  line("gaps", gaps);
  if (counts.pushed != 0 && counts.dropped != 0) {
    out.write("(A pushed message that was dropped afterwards is counted in both.)\n");
  }
  if (counts.first_at != 0) {
    line("first", local_time(counts.first_at));
    line("last", local_time(counts.last_at));
  }
  const auto ranking = [&](waystation_audit_ranking which, const char* title) {
    bool is_begun = false;
    audit.top(filter, which, limit, [&](const char* name, std::uint64_t count) {
      if (!is_begun) out.write(std::string{"\n"} + title + "\n");
      is_begun = true;
      std::array<char, 24> head{};
      std::snprintf(head.data(), head.size(), "%10llu  ", static_cast<unsigned long long>(count));
      out.write(std::string{head.data()} + shown(name) + "\n");
    });
  };
  ranking(WAYSTATION_AUDIT_TOP_UNDELIVERED, "Undelivered, by receiver:");
  ranking(WAYSTATION_AUDIT_TOP_DROPPED, "Dropped, by receiver:");
  ranking(WAYSTATION_AUDIT_TOP_FALLBACKS,
          "Pairs with most messages to an absent user (pushed or undelivered):");
  out.finish();
  return 0;
}

int audit_export(const AuditRequest& request) {
  const auto filter = filter_of(request);
  const auto limit = limit_of(request, "all");
  const bool is_csv = request.format == "csv";
  if (!is_csv && request.format != "jsonl") {
    throw ConfigurationError{"--format " + quoted(request.format) +
                             ": unknown value; allowed: csv or jsonl"};
  }
  AuditHandle audit{request.file};
  Output out;
  if (is_csv) {
    out.write("id,at,time,node,group,from,to,outcome,reached,bytes,message_id,lost,lost_until\r\n");
  }
  std::uint64_t rows = 0;
  audit.read(filter, 0, [&](const waystation_audit_row& row) {
    return out.write(is_csv ? csv_line(row) : json_line(row)) && ++rows != limit;
  });
  out.finish();
  return 0;
}

int audit_missed(const AuditRequest& request) {
  const auto since = time_of("--since", request.since, now_ms());
  AuditHandle audit{request.file};
  Output out;
  bool is_empty = true;
  const auto line = [&](std::uint64_t count, const std::string& text) {
    std::array<char, 24> head{};
    std::snprintf(head.data(), head.size(), "%10llu  ", static_cast<unsigned long long>(count));
    out.write(std::string{head.data()} + text + "\n");
    is_empty = false;
  };
  std::size_t senders = 0;
  const auto result = audit.missed(request.user, since, [&](const auto& sender) {
    ++senders;
    line(sender.count, shown(sender.user) + ", " + local_time(sender.first) +
                           (sender.last == sender.first ? "" : " to " + local_time(sender.last)));
  });
  if (result.notifications != 0) line(result.notifications, "notifications");
  if (is_empty) out.write("Nobody.\n");
  constexpr std::size_t kMaxSenders = 100;  // of an answer: see waystation_missed
  if (result.complete == 0 && senders == kMaxSenders) {
    out.write("More may be missing: only the latest 100 senders are shown.\n");
  } else if (result.complete == 0) {
    out.write("More may be missing: the audit is not complete for this time.\n");
  }
  out.finish();
  return 0;
}

int audit_prune(const AuditRequest& request) {
  const auto filter = filter_of(request);
  const bool names_some =
      filter.since != 0 || filter.until != 0 || filter.outcomes != 0 || names_a_user(request);
  if (!names_some) {
    throw ConfigurationError{
        "audit prune: no rows selected; allowed: at least one of --before, --since, --user, "
        "--from, "
        "--to and --outcome (all rows: --before now)"};
  }
  // Count first: the library does not report the time range of deleted rows. Matching rows that a
  // server adds meanwhile are deleted too, and appear only in the total.
  auto pruned = prunable(request, filter);
  Output out;
  if (request.dry_run) {
    out.write(describe(pruned, "would be deleted", "would be deleted"));
    out.finish();
    return 0;
  }
  LibraryError error;
  const auto status = waystation_audit_prune(request.file.c_str(), &filter, &pruned.rows, error);
  if (status == WAYSTATION_OK || pruned.rows != 0) {
    out.write(describe(pruned, "was deleted", "were deleted"));
    out.finish();
  }
  error.check(status);
  return 0;
}

}  // namespace waystation::server
