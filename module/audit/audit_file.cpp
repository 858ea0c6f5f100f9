#include "audit/audit_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <new>
#include <string_view>

namespace waystation {
namespace {

constexpr mode_t kPrivate = 0600;

std::system_error failure(int error, const std::string& what) {
  return {error, std::generic_category(), what};
}

std::string owner_text(uid_t owner) {
  return "user " + std::to_string(owner);
}

/// Reads the status of the file itself, not of a link's target. False: there is no file.
bool stat_no_follow(const std::string& path, struct stat& status) {
  if (::lstat(path.c_str(), &status) == 0) return true;
  if (errno == ENOENT) return false;
  if (errno == EACCES || errno == ELOOP || errno == ENOTDIR || errno == ENAMETOOLONG) {
    throw audit_file_refused(path, std::string(std::strerror(errno)) +
                                       "; name a file in a folder that this user can access");
  }
  throw failure(errno, path);
}

constexpr const char* kWritableHint = "name a file (it need not exist)";
constexpr const char* kReadableHint = "name the file that the server writes (audit_file)";

void check_kind(const std::string& path, const struct stat& status, const char* right) {
  if (S_ISLNK(status.st_mode)) {
    throw audit_file_refused(
        path,
        "a link, which anyone with write access to the folder could have made; name "
        "the file itself");
  }
  if (!S_ISREG(status.st_mode)) {
    throw audit_file_refused(
        path,
        std::string("not a file") + (S_ISDIR(status.st_mode) ? " but a folder; " : "; ") + right);
  }
  if (status.st_nlink > 1) {
    throw audit_file_refused(
        path, "the file has more than one name (hard links); name a file with one name");
  }
}

void check_is_own(const std::string& path, const struct stat& status) {
  check_kind(path, status, kWritableHint);
  if (status.st_uid != ::geteuid()) {
    throw audit_file_refused(path, "the file belongs to " + owner_text(status.st_uid) +
                                       ", but this process runs as " + owner_text(::geteuid()) +
                                       "; name a file of that user, or run it as " +
                                       owner_text(status.st_uid));
  }
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

AuditRefused audit_file_refused(const std::string& path, const std::string& problem) {
  return AuditRefused("audit_file = \"" + path + "\": " + problem);
}

std::string resolve_audit_path(const std::string& path) {
  if (path.empty() || path.back() == '/') {
    throw audit_file_refused(path, "names no file; allowed: the path of a file");
  }
  const std::size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  const std::string folder = slash == std::string::npos ? "."
                             : slash == 0               ? "/"
                                                        : path.substr(0, slash);
  if (name == "." || name == "..")
    throw audit_file_refused(path, "a folder; allowed: the path of a file");
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(folder.c_str(), nullptr), std::free);
  if (real == nullptr) {
    throw audit_file_refused(path, "its folder cannot be used (" +
                                       std::string(std::strerror(errno)) +
                                       "); create the folder first");
  }
  const std::string resolved = real.get();
  return (resolved == "/" ? "" : resolved) + "/" + name;
}

bool check_audit_file(const std::string& path) {
  struct stat status {};
  if (!stat_no_follow(path, status)) return false;
  check_is_own(path, status);
  return true;
}

void check_readable_audit_file(const std::string& path) {
  struct stat status {};
  if (!stat_no_follow(path, status)) {
    throw audit_file_refused(path, std::string("there is no such file; ") + kReadableHint);
  }
  check_kind(path, status, kReadableHint);
  if (status.st_uid != ::geteuid() && ::geteuid() != 0) {
    throw audit_file_refused(path, "the file belongs to " + owner_text(status.st_uid) +
                                       ", but this process runs as " + owner_text(::geteuid()) +
                                       "; only its owner and root may read it");
  }
}

void check_before_start(const std::string& path) {
  check_audit_file(path);
  // SQLite creates its WAL beside the file. EROFS is a fault that may pass.
  if (::access(folder_of(path).c_str(), W_OK | X_OK) != 0 && errno == EACCES) {
    throw audit_file_refused(path, "its folder is not writable (" +
                                       std::string(std::strerror(errno)) +
                                       "); name a file in a folder that this user can write to");
  }
}

FileIdentity prepare_audit_file(const std::string& path) {
  struct stat status {};
  while (!stat_no_follow(path, status)) {
    const int descriptor =
        ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kPrivate);
    if (descriptor < 0) {
      if (errno == EEXIST) continue;
      if (errno == EACCES || errno == EPERM) {
        throw audit_file_refused(path,
                                 "cannot be created (" + std::string(std::strerror(errno)) +
                                     "); name a file in a folder that this user can write to");
      }
      throw failure(errno, path);
    }
    (void)::close(descriptor);  // nothing was written through it
  }
  check_is_own(path, status);
  return {status.st_dev, status.st_ino};
}

bool make_private(const std::string& path) {
  // With O_PATH the file that is checked is the file that is changed, and closing the descriptor
  // drops no lock of SQLite's.
  const int descriptor = ::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) {
    if (errno == ENOENT) return false;
    throw failure(errno, path);
  }
  const std::unique_ptr<const int, void (*)(const int*)> close(
      &descriptor, [](const int* open) { (void)::close(*open); });
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw failure(errno, path);
  check_is_own(path, status);
  if ((status.st_mode & 0777) == kPrivate) return false;
  if (::chmod(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), kPrivate) != 0) {
    throw failure(errno, path);
  }
  return true;
}

bool is_on_read_only_file_system(const std::string& path) noexcept {
  try {
    // The folder, since the file need not exist.
    return ::access(folder_of(path).c_str(), W_OK) != 0 && errno == EROFS;
  } catch (const std::bad_alloc&) {
    return false;  // unknown
  }
}

std::uint64_t size_of(const std::string& path) noexcept {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

FileIdentity identity_of(const std::string& path) noexcept {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino};
}

std::string set_aside(const std::string& path, std::int64_t now_ms) {
  const std::time_t seconds = now_ms / 1000;
  std::tm utc{};
  (void)::gmtime_r(&seconds, &utc);  // fails only for years that an int cannot hold
  std::array<char, 32> stamp{};
  (void)std::strftime(stamp.data(), stamp.size(), "%Y%m%dT%H%M%SZ", &utc);
  const std::string base = path + ".corrupt-" + stamp.data();
  for (int attempt = 1;; ++attempt) {
    std::string aside = attempt == 1 ? base : base + "-" + std::to_string(attempt);
    // Never replaces another file.
    if (::renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, aside.c_str(), RENAME_NOREPLACE) != 0) {
      if (errno == EEXIST && attempt < 1000) continue;
      throw failure(errno, path);
    }
    // The WAL may hold rows that are not in the file yet. SQLite recreates the index (-shm).
    for (const char* part : {"-wal", "-shm"}) {
      if (::renameat2(AT_FDCWD, (path + part).c_str(), AT_FDCWD, (aside + part).c_str(),
                      RENAME_NOREPLACE) != 0 &&
          errno != ENOENT) {
        throw failure(errno, path + part);
      }
    }
    return aside;
  }
}

}  // namespace waystation
