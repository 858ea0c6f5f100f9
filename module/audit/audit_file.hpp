// The audit's file as the file system sees it: whose it is, whether it is still there, and what to
// do with one that is damaged. No SQLite here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <system_error>

namespace waystation {

/// The file must not be used, and trying again will not help: somebody made a mistake. One line
/// that says what is wrong and what would be right.
class AuditRefused : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// Which file it is that a path names.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};

/// The path with its folder's links followed and its own not. Throws AuditRefused where there is no
/// such folder.
std::string resolve_audit_path(const std::string& path);

/// Whether the file at `path` is one that may be used: a regular file under one name, owned by the
/// caller. True: it is there; false: nothing is. Throws AuditRefused, or std::system_error where
/// the file system would not say.
bool check_audit_file(const std::string& path);

/// As check_audit_file, for who only reads: root may read everybody's.
void check_readable_audit_file(const std::string& path);

/// As check_audit_file, and refuses a folder in which no file can be made. A file system that is
/// read-only or full at the moment is no such thing.
void check_before_start(const std::string& path);

/// Sees to it that there is a file, empty and for its owner alone if it is new, and says which.
/// Throws AuditRefused or std::system_error.
FileIdentity prepare_audit_file(const std::string& path);

/// Takes others' rights to it away, where they have any: true says so. The mode of nothing but a
/// file of one's own under one name is ever changed, whatever is put there meanwhile. Nothing where
/// no file is there. Throws AuditRefused or std::system_error.
bool make_private(const std::string& path);

/// Whether files can be read there and not written, for now or for good.
bool is_on_read_only_file_system(const std::string& path) noexcept;

/// Bytes; 0 where nothing is there.
std::uint64_t size_of(const std::string& path) noexcept;

/// Nothing where no file has that name. Throws nothing.
FileIdentity identity_of(const std::string& path) noexcept;

/// Gives a damaged file, and what belongs to it, another name that says what it is. Returns that
/// name. Throws std::system_error.
std::string set_aside(const std::string& path, std::int64_t now_ms);

}  // namespace waystation
