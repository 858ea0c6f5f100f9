// The C functions that read an audit.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "api/guarded.hpp"
#include "audit/audit.hpp"
#include "audit/audit_prune.hpp"
#include "audit/audit_reader.hpp"
#include "audit/file_size_signal.hpp"
#include "relay/names.hpp"
#include "waystation/waystation.h"

namespace ws = waystation;

/// The handle.
struct waystation_audit {
  ws::AuditReader reader;
};

namespace {

/// Runs `f`, lets no exception out, and puts what one said into `error`.
template <typename F>
waystation_status guarded(char* error, std::size_t error_size, F&& f) noexcept {
  const auto say = [&](const char* text, waystation_status status) {
    ws::write_error(error, error_size, text);
    return status;
  };
  say("", WAYSTATION_OK);
  const ws::FileSizeSignalBlocker no_signal;  // reading writes, too: an index of the log
  try {
    f();
    return WAYSTATION_OK;
  } catch (const std::invalid_argument& problem) {
    return say(problem.what(), WAYSTATION_INVALID);
  } catch (const std::bad_alloc&) {
    return say("there is no memory for it", WAYSTATION_EXHAUSTED);
  } catch (const std::runtime_error& problem) {  // SQLite, the file system
    return say(problem.what(), WAYSTATION_FAILED);
  } catch (...) {
    return say("", WAYSTATION_INTERNAL);
  }
}

void need(bool is_there, const char* what) {
  if (!is_there) throw std::invalid_argument(what);
}

const char* null_if_empty(const std::string& text) {
  return text.empty() ? nullptr : text.c_str();
}

std::string user_of(const char* name, const char* user) {
  if (user == nullptr || *user == '\0') return {};
  if (!ws::is_user_id(user)) {
    throw std::invalid_argument(std::string(name) +
                                ": a user is 1 to 64 of the characters 0-9 and a-z");
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
  need(given != nullptr && given->size >= sizeof(std::size_t),
       "filter: a zeroed struct with its size set");
  waystation_audit_filter whole{};
  std::memcpy(&whole, given, std::min(given->size, sizeof whole));
  ws::AuditFilter filter;
  if (whole.since != 0) filter.since = whole.since;
  if (whole.until != 0) filter.until = whole.until;
  filter.user = user_of("user", whole.user);
  filter.from = user_of("from", whole.from);
  filter.to = user_of("to", whole.to);
  for (const auto outcome : ws::kAuditOutcomes) {
    if ((whole.outcomes & (1U << to_public(outcome))) != 0) filter.add(outcome);
  }
  need(filter.outcomes != 0 || whole.outcomes == 0, "outcomes: bits 1u << WAYSTATION_PUSHED, …");
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

waystation_status waystation_audit_check(const char* file, char* error, size_t error_size) {
  return guarded(error, error_size, [&] {
    need(file != nullptr, "audit_file: the path of a file");
    ws::Audit::check(file);
  });
}

waystation_status waystation_audit_open(const char* file, waystation_audit** audit, char* error,
                                        size_t error_size) {
  if (audit != nullptr) *audit = nullptr;
  return guarded(error, error_size, [&] {
    need(file != nullptr && audit != nullptr, "audit_file: the path of a file");
    // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the caller's, who gives it to _close
    *audit = new waystation_audit{ws::AuditReader(file)};
  });
}

void waystation_audit_close(waystation_audit* audit) {
  const std::unique_ptr<waystation_audit> handle(audit);
}

waystation_status waystation_audit_read(waystation_audit* audit,
                                        const waystation_audit_filter* filter, uint64_t newest,
                                        int (*take)(void*, const waystation_audit_row*),
                                        void* user_data, char* error, size_t error_size) {
  return guarded(error, error_size, [&] {
    need(audit != nullptr && take != nullptr, "an open audit and a function");
    const auto give = [&](const ws::AuditRow& row) {
      const auto out = to_public(row);
      return take(user_data, &out) != 0;
    };
    const auto which = filter_of(filter);
    if (newest == 0) return audit->reader.each(which, give);
    for (const auto& row : audit->reader.newest(which, newest)) {
      if (!give(row)) return;
    }
  });
}

waystation_status waystation_audit_total(waystation_audit* audit,
                                         const waystation_audit_filter* filter,
                                         waystation_audit_totals* totals, char* error,
                                         size_t error_size) {
  return guarded(error, error_size, [&] {
    need(audit != nullptr && totals != nullptr && totals->size >= sizeof(std::size_t),
         "an open audit and a struct with its size set");
    const auto found = audit->reader.totals(filter_of(filter));
    const waystation_audit_totals whole{totals->size,       found.pushed,   found.undelivered,
                                        found.dropped,      found.gaps,     found.lost,
                                        found.unknown_gaps, found.first_at, found.last_at};
    std::memcpy(totals, &whole, std::min(totals->size, sizeof whole));
  });
}

waystation_status waystation_audit_most(waystation_audit* audit,
                                        const waystation_audit_filter* filter,
                                        waystation_audit_ranking ranking, uint64_t limit,
                                        int (*take)(void*, const char*, uint64_t), void* user_data,
                                        char* error, size_t error_size) {
  return guarded(error, error_size, [&] {
    need(audit != nullptr && take != nullptr, "an open audit and a function");
    const int rank_by = ws::number_of(ranking);
    need(rank_by == WAYSTATION_AUDIT_MOST_UNDELIVERED || rank_by == WAYSTATION_AUDIT_MOST_MISSED ||
             rank_by == WAYSTATION_AUDIT_MOST_DROPPED,
         "ranking: one of the values of waystation_audit_ranking");
    const auto which = filter_of(filter);
    const auto outcome = rank_by == WAYSTATION_AUDIT_MOST_DROPPED ? ws::AuditOutcome::dropped
                                                                  : ws::AuditOutcome::undelivered;
    const auto found = rank_by == WAYSTATION_AUDIT_MOST_MISSED
                           ? audit->reader.top_fallbacks(which, limit)
                           : audit->reader.top_receivers(outcome, which, limit);
    for (const auto& [name, count] : found) {
      if (take(user_data, name.c_str(), count) == 0) return;
    }
  });
}

waystation_status waystation_audit_prune(const char* file, const waystation_audit_filter* filter,
                                         uint64_t* rows, char* error, size_t error_size) {
  std::uint64_t pruned = 0;
  const auto status = guarded(error, error_size, [&] {
    need(file != nullptr, "audit_file: the path of a file");
    ws::prune_audit(file, filter_of(filter), &pruned);
  });
  if (rows != nullptr) *rows = pruned;
  return status;
}
