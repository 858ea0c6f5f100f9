// The file beside an audit that exists while a run writes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "audit/audit_file.hpp"

namespace waystation {

/// An empty file, AUDIT.run-NODE, that is locked while a run lasts and removed when it ends
/// cleanly. It records for the next run what the audit itself cannot: that a run never got the
/// audit open. It also keeps a second run of the same node from starting, which would take the
/// first one for an interrupted run.
///
/// Its modification time says from when on rows are missing if the run does not end cleanly. One
/// thread at a time. A child that was forked without exec holds the lock too.
class AuditRunFile {
 public:
  /// Whether a run of any node writes `audit`, or did not end cleanly. False also if the folder
  /// cannot be listed. `audit` is a result of resolve_audit_path().
  static bool exists_for(const std::string& audit);

  /// Touches no file yet. `audit` is a result of resolve_audit_path().
  AuditRunFile(const std::string& audit, const std::string& node);
  /// Calls release().
  ~AuditRunFile();
  AuditRunFile(const AuditRunFile&) = delete;
  AuditRunFile& operator=(const AuditRunFile&) = delete;

  /// Makes the file and locks it, or takes over the file of a run that did not end cleanly. Does
  /// nothing if the lock is held and the file in place. Throws AuditRefused if another run holds
  /// the lock or something else is in the way, std::system_error if the file system takes no file.
  void acquire(std::int64_t started_at);

  /// Since when rows of an earlier run may be missing, in ms since 1970.
  std::optional<std::int64_t> missing_since() const noexcept { return missing_since_; }
  /// Since when rows of this run are missing if it does not end cleanly.
  void set_missing_since(std::int64_t since) noexcept;
  /// The audit has recorded missing_since() as a gap.
  void clear_missing(std::int64_t started_at) noexcept;
  /// The run ended cleanly.
  void remove() noexcept;
  /// Releases the lock; the file stays.
  void release() noexcept;

 private:
  const std::string path_;
  const std::string node_;
  const std::string audit_;
  int descriptor_ = -1;
  std::optional<std::int64_t> missing_since_;
};

}  // namespace waystation
