#include "audit/audit_run_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <filesystem>
#include <system_error>

namespace waystation {
namespace {

constexpr const char* kSuffix = ".run-";  // and the node
constexpr std::int64_t kMs = 1000;
constexpr std::int64_t kNsPerMs = 1'000'000;

std::int64_t changed_at(const struct stat& status) noexcept {
  return std::int64_t{status.st_mtim.tv_sec} * kMs + status.st_mtim.tv_nsec / kNsPerMs;
}

}  // namespace

bool AuditRunFile::exists_for(const std::string& audit) {
  const std::filesystem::path path = audit + kSuffix;
  const std::string prefix = path.filename();
  std::error_code error;
  for (std::filesystem::directory_iterator entry(path.parent_path(), error), end;
       !error && entry != end; entry.increment(error)) {
    if (entry->path().filename().native().starts_with(prefix)) return true;
  }
  return false;
}

AuditRunFile::AuditRunFile(const std::string& audit, const std::string& node)
    : path_(audit + kSuffix + node), node_(node), audit_(audit) {}

AuditRunFile::~AuditRunFile() {
  release();
}

void AuditRunFile::release() noexcept {
  if (descriptor_ >= 0) (void)::close(descriptor_);  // nothing was written through it
  descriptor_ = -1;
}

void AuditRunFile::acquire(std::int64_t started_at) {
  struct stat status {};
  const auto is_in_place = [&] {
    return ::fstat(descriptor_, &status) == 0 &&
           identity_of(path_) == FileIdentity{status.st_dev, status.st_ino};
  };
  if (descriptor_ >= 0 && is_in_place()) return;
  for (;;) {
    release();
    bool is_new = true;
    // O_NONBLOCK: opening must not wait if the path is a pipe.
    constexpr int kFlags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    descriptor_ = ::open(path_.c_str(), kFlags | O_CREAT | O_EXCL, 0600);
    if (descriptor_ < 0 && errno == EEXIST) {
      is_new = false;
      check_audit_file(path_);
      descriptor_ = ::open(path_.c_str(), kFlags);
      if (descriptor_ < 0 && errno == ENOENT) continue;  // its run has just ended
    }
    if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), path_);
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      release();
      if (error != EWOULDBLOCK) throw std::system_error(error, std::generic_category(), path_);
      throw audit_file_refused(audit_, "another program is writing it as node " + node_ +
                                           " right now; end that one, or name another file");
    }
    if (!is_in_place()) continue;  // its run ended between the two calls and took it away
    if (is_new) {
      set_missing_since(started_at);
    } else {
      missing_since_ = changed_at(status);
    }
    return;
  }
}

void AuditRunFile::set_missing_since(std::int64_t since) noexcept {
  if (descriptor_ < 0) return;
  const timespec time{.tv_sec = since / kMs, .tv_nsec = since % kMs * kNsPerMs};
  const timespec times[] = {time, time};
  // If it fails, the file keeps its earlier time: the next run still finds it and records a gap.
  (void)::futimens(descriptor_, times);
}

void AuditRunFile::clear_missing(std::int64_t started_at) noexcept {
  missing_since_.reset();
  set_missing_since(started_at);
}

void AuditRunFile::remove() noexcept {
  struct stat status {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) return;
  // A file that stays makes the next run record a gap although nothing is missing.
  if (identity_of(path_) == FileIdentity{status.st_dev, status.st_ino}) {
    (void)::unlink(path_.c_str());
  }
  release();
}

}  // namespace waystation
