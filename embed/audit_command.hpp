// `waystation audit list|stats|export|prune`: an audit's file, read and pruned by a person or a
// script, while the server writes it or not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace waystation::server {

/// What the command line says, as it stands.
struct AuditRequest {
  std::string file;
  std::string since;
  std::string until;
  std::string user;
  std::string from;
  std::string to;
  std::vector<std::string> outcomes;
  std::string limit;           // of all but prune
  std::string format = "csv";  // of export: csv or jsonl
  bool dry_run = false;        // of prune
};

// Each writes to standard output and returns the exit code. Throws ConfigurationError for a mistake
// in the request, std::runtime_error where the file cannot be read or the output not be written.

/// The newest `limit` rows (0: all) as a table, times in local time.
int audit_list(const AuditRequest& request);
/// Counts, and of each ranking the first `limit`.
int audit_stats(const AuditRequest& request);
/// The first `limit` rows (0: all), oldest first, in the memory of a thousand.
int audit_export(const AuditRequest& request);
/// Takes the rows out, and says how many and of which time. Refused where the request names none in
/// particular.
int audit_prune(const AuditRequest& request);

}  // namespace waystation::server
