// Checks of the audit's file in the file system: owner, kind, mode, identity. Does not use SQLite.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <system_error>

namespace waystation {

/// The file must not be used, and a retry does not help: a mistake in the configuration. The text
/// says what is wrong and what to do.
class AuditRefused : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// The error for the file of an audit: `audit_file = "<path>": <problem>`. `problem` says what is
/// wrong, and after a semicolon what is allowed or what to do. The path is the operator's own.
AuditRefused audit_file_refused(const std::string& path, const std::string& problem);

/// Identifies a file independently of its name.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};

/// The path with links in its folder resolved, but not a link at its end. Throws AuditRefused if
/// there is no such folder.
std::string resolve_audit_path(const std::string& path);

/// Returns whether there is a file at `path`. Throws AuditRefused unless it is a regular file with
/// one name that the calling user owns; std::system_error if that cannot be determined.
bool check_audit_file(const std::string& path);

/// The same for reading, which root may do with everybody's file.
void check_readable_audit_file(const std::string& path);

/// The same, and throws AuditRefused for a folder without permission to create files. A file system
/// that is read-only or full is a fault that may pass, and not refused.
void check_before_start(const std::string& path);

/// Creates the file with mode 0600 if there is none, and returns its identity. Throws AuditRefused
/// or std::system_error.
FileIdentity prepare_audit_file(const std::string& path);

/// Changes the mode to 0600, and returns true if it was another. Never changes anything but a
/// regular file of the calling user with one name, even if the path is replaced meanwhile. Does
/// nothing if there is no file. Throws AuditRefused or std::system_error.
bool make_private(const std::string& path);

/// Whether the file system of `path` is mounted read-only.
bool is_on_read_only_file_system(const std::string& path) noexcept;

/// Size in bytes; 0 if there is no file.
std::uint64_t size_of(const std::string& path) noexcept;

/// A default FileIdentity if there is no file.
FileIdentity identity_of(const std::string& path) noexcept;

/// Renames a damaged file, with its WAL, to PATH.corrupt-TIME, and returns that name. Throws
/// std::system_error.
std::string set_aside(const std::string& path, std::int64_t now_ms);

}  // namespace waystation
