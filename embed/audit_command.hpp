// `waystation audit list|stats|export|missed|prune`: reads and prunes an audit file. The server may
// be running and writing to it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace waystation::server {

/// The command line's arguments, not yet checked.
struct AuditRequest {
  std::string file;
  std::string since;
  std::string until;
  std::string user;
  std::string from;
  std::string to;
  std::vector<std::string> outcomes;
  std::string limit;           // list, stats, export
  std::string format = "csv";  // export: csv or jsonl
  bool dry_run = false;        // prune
};

// Each function writes to standard output and returns the exit code. It throws ConfigurationError
// for an error in the request, and std::runtime_error for an I/O error.

/// The newest `limit` rows (0: all) as a table, times in local time.
int audit_list(const AuditRequest& request);
/// Counts, and the first `limit` entries of each ranking.
int audit_stats(const AuditRequest& request);
/// The first `limit` rows (0: all), oldest first. Holds at most 1000 rows in memory.
int audit_export(const AuditRequest& request);
/// Who tried to reach `user` since a time and did not, the latest first.
int audit_missed(const AuditRequest& request);
/// Deletes the rows, and prints their number and time range. A request without a filter is an
/// error.
int audit_prune(const AuditRequest& request);

}  // namespace waystation::server
