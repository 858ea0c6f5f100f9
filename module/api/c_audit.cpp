// The C functions that read an audit.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "api/guarded.hpp"
#include "api/missed.hpp"
#include "audit/audit.hpp"
#include "audit/audit_prune.hpp"
#include "audit/audit_reader.hpp"
#include "audit/file_size_signal.hpp"
#include "relay/names.hpp"
#include "waystation/waystation.h"

namespace ws = waystation;

struct waystation_audit {
  ws::AuditReader reader;
};

namespace {

/// Runs `f` with SIGXFSZ blocked, so that a file size limit is an error. Reading needs this too,
/// because SQLite writes the WAL's index.
template <typename F>
waystation_status guarded(waystation_error* error, F&& f) noexcept {
  const ws::FileSizeSignalBlocker no_signal;
  return ws::guarded(
      error,
      [&] {
        try {
          f();
        } catch (const ws::AuditRefused& refused) {
          throw ws::OptionError({"audit_file", refused.what()});
        }
        return WAYSTATION_OK;
      },
      WAYSTATION_FAILED);
}

const char* null_if_empty(const std::string& text) {
  return text.empty() ? nullptr : text.c_str();
}

std::string user_of(const char* name, const char* user) {
  if (user == nullptr || *user == '\0') return {};
  if (const auto checked = ws::check_user_id(name, user); !checked) {
    throw std::invalid_argument(checked.error().message);
  }
  return user;
}

waystation_outcome to_public(ws::AuditOutcome outcome) noexcept {
  switch (outcome) {
    case ws::AuditOutcome::pushed:
      return WAYSTATION_PUSHED;
    case ws::AuditOutcome::undelivered:
      return WAYSTATION_UNDELIVERED;
    case ws::AuditOutcome::dropped:
      return WAYSTATION_DROPPED;
    case ws::AuditOutcome::gap:
      return WAYSTATION_GAP;
  }
  return WAYSTATION_GAP;
}

ws::AuditFilter filter_of(const waystation_audit_filter* given) {
  ws::require(ws::is_sized(given), "filter: must not be NULL; zero it and set its size");
  waystation_audit_filter whole{};
  std::memcpy(&whole, given, std::min(given->size, sizeof whole));
  ws::AuditFilter filter;
  if (whole.since != 0) filter.since = whole.since;
  if (whole.until != 0) filter.until = whole.until;
  filter.user = user_of("user", whole.user);
  filter.from = user_of("from", whole.from);
  filter.to = user_of("to", whole.to);
  std::uint32_t known = 0;
  for (const auto outcome : ws::kAuditOutcomes) {
    const auto bit = 1U << to_public(outcome);
    known |= bit;
    if ((whole.outcomes & bit) != 0) filter.add(outcome);
  }
  // A condition that is ignored would select rows that the caller did not mean.
  ws::require((whole.outcomes & ~known) == 0,
              "outcomes: unknown bits; allowed: 1u << WAYSTATION_PUSHED and the like");
  return filter;
}

waystation_audit_row to_public(const ws::AuditRow& row) noexcept {
  waystation_audit_row out{};
  out.size = sizeof out;
  out.id = row.id;
  out.at = row.at;
  out.outcome = to_public(row.outcome);
  out.node = row.node.c_str();
  out.group = null_if_empty(row.group);
  out.from = null_if_empty(row.from);
  out.to = null_if_empty(row.to);
  out.message_id = null_if_empty(row.message_id);
  out.reached = row.reached;
  out.bytes = row.bytes;
  out.lost =
      row.lost ? static_cast<int64_t>(*row.lost) : (row.outcome == ws::AuditOutcome::gap ? -1 : 0);
  out.lost_until = row.lost_until;
  return out;
}

}  // namespace

waystation_status waystation_audit_open(const char* file, waystation_audit** audit,
                                        waystation_error* error) {
  if (audit != nullptr) *audit = nullptr;
  return guarded(error, [&] {
    ws::require(file != nullptr && audit != nullptr, "file, audit: must not be NULL");
    // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): waystation_audit_close frees it
    *audit = new waystation_audit{ws::AuditReader(file)};
  });
}

void waystation_audit_close(waystation_audit* audit) {
  const std::unique_ptr<waystation_audit> handle(audit);
}

waystation_status waystation_audit_read(waystation_audit* audit,
                                        const waystation_audit_filter* filter, uint64_t newest,
                                        int (*visit)(void*, const waystation_audit_row*),
                                        void* user_data, waystation_error* error) {
  return guarded(error, [&] {
    ws::require(audit != nullptr && visit != nullptr, "audit, visit: must not be NULL");
    const auto give = [&](const ws::AuditRow& row) {
      const auto out = to_public(row);
      return visit(user_data, &out) != 0;
    };
    const auto which = filter_of(filter);
    if (newest == 0) return audit->reader.each(which, give);
    for (const auto& row : audit->reader.newest(which, newest)) {
      if (!give(row)) return;
    }
  });
}

waystation_status waystation_audit_count(waystation_audit* audit,
                                         const waystation_audit_filter* filter,
                                         waystation_audit_counts* counts, waystation_error* error) {
  return guarded(error, [&] {
    ws::require(audit != nullptr && ws::is_sized(counts),
                "audit, counts: must not be NULL; zero counts and set its size");
    const auto found = audit->reader.totals(filter_of(filter));
    ws::write_sized(*counts,
                    {counts->size, found.pushed, found.undelivered, found.dropped, found.gaps,
                     found.lost, found.unknown_gaps, found.first_at, found.last_at});
  });
}

waystation_status waystation_audit_top(waystation_audit* audit,
                                       const waystation_audit_filter* filter,
                                       waystation_audit_ranking ranking, uint64_t limit,
                                       int (*visit)(void*, const char*, uint64_t), void* user_data,
                                       waystation_error* error) {
  return guarded(error, [&] {
    ws::require(audit != nullptr && visit != nullptr, "audit, visit: must not be NULL");
    const int rank_by = ws::number_of(ranking);
    ws::require(
        rank_by >= WAYSTATION_AUDIT_TOP_UNDELIVERED && rank_by <= WAYSTATION_AUDIT_TOP_DROPPED,
        "ranking: unknown value; allowed: the values of waystation_audit_ranking");
    const auto which = filter_of(filter);
    const auto outcome = rank_by == WAYSTATION_AUDIT_TOP_DROPPED ? ws::AuditOutcome::dropped
                                                                 : ws::AuditOutcome::undelivered;
    const auto found = rank_by == WAYSTATION_AUDIT_TOP_FALLBACKS
                           ? audit->reader.top_fallbacks(which, limit)
                           : audit->reader.top_receivers(outcome, which, limit);
    for (const auto& [name, count] : found) {
      if (visit(user_data, name.c_str(), count) == 0) return;
    }
  });
}

waystation_status waystation_audit_missed(waystation_audit* audit, const char* user, int64_t since,
                                          int (*visit)(void* user_data,
                                                       const waystation_missed_sender* sender),
                                          void* user_data, waystation_missed_result* result,
                                          waystation_error* error) {
  return guarded(error, [&] {
    ws::require(audit != nullptr && visit != nullptr && ws::is_sized(result),
                "audit, visit, result: must not be NULL; zero result and set its size");
    const auto name = user_of("user", user);
    ws::require(!name.empty(), "user: missing; name the user who is asking");
    ws::check_since(since);
    auto missed = audit->reader.missed(name, {}, {since, {}}, 0);
    missed.next.clear();
    ws::give_missed(missed, visit, user_data, *result);
  });
}

waystation_status waystation_audit_prune(const char* file, const waystation_audit_filter* filter,
                                         uint64_t* rows, waystation_error* error) {
  std::uint64_t pruned = 0;
  const auto status = guarded(error, [&] {
    ws::require(file != nullptr, "file: must not be NULL");
    ws::prune_audit(file, filter_of(filter), &pruned);
  });
  if (rows != nullptr) *rows = pruned;
  return status;
}
