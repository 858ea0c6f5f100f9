// The trace that a run leaves beside its audit while it lasts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "audit/audit_file.hpp"

namespace waystation {

/// An empty file, AUDIT.run-NODE, that is there and locked while a run lasts and goes when it ended
/// well. It tells the next run of what the audit itself cannot: that a run never got it open. And
/// it keeps a second run of one node from beginning, which would take the first for one that was
/// cut.
///
/// Its time of change says from when on rows may be missing if the run does not end well. One
/// thread at a time. A child that was forked without exec holds the lock, too.
class AuditRunFile {
 public:
  /// Touches nothing yet. `audit` is one of resolve_audit_path().
  AuditRunFile(const std::string& audit, const std::string& node);
  /// let_go().
  ~AuditRunFile();
  AuditRunFile(const AuditRunFile&) = delete;
  AuditRunFile& operator=(const AuditRunFile&) = delete;

  /// Makes the file and locks it, or takes over the one of a run that did not end well; nothing
  /// where it is held and in place. Throws AuditRefused where another run holds it, or something
  /// else is in the way; std::system_error where the file system takes none.
  void take(std::int64_t started_at);

  /// From when on rows may be missing because of an earlier run, in ms since 1970.
  std::optional<std::int64_t> missing_since() const noexcept { return missing_since_; }
  /// This run's: from when on they are if it does not end well.
  void owe(std::int64_t since) noexcept;
  /// What missing_since() said was entered in the audit.
  void settle(std::int64_t started_at) noexcept;
  /// The run ended well.
  void remove() noexcept;
  /// Lets go of the lock; the file stays, if it is there.
  void let_go() noexcept;

 private:
  const std::string path_;
  const std::string node_;
  const std::string audit_;
  int descriptor_ = -1;
  std::optional<std::int64_t> missing_since_;
};

}  // namespace waystation
