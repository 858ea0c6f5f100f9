#include "audit/audit_state.hpp"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>

namespace waystation {

const char* audit_state_text(AuditState state) noexcept {
  switch (state) {
    case AuditState::starting:
      return "starting";
    case AuditState::ok:
      return "ok";
    case AuditState::disk_full:
      return "disk full";
    case AuditState::locked:
      return "locked";
    case AuditState::read_only:
      return "read-only";
    case AuditState::blocked:
      return "blocked";
    case AuditState::failed:
      return "failed";
  }
  return "failed";
}

AuditState state_of(int system_error) noexcept {
  switch (system_error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return AuditState::disk_full;
    case EROFS:
      return AuditState::read_only;
    default:
      return AuditState::failed;
  }
}

AuditState state_of(const SqliteError& error) noexcept {
  switch (error.primary_code()) {
    case SQLITE_FULL:
      return AuditState::disk_full;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return AuditState::locked;
    case SQLITE_READONLY:
      return AuditState::read_only;
    default:
      return state_of(error.system_error());
  }
}

std::string describe(const SqliteError& error) {
  std::string text = error.what();
  if (error.system_error() != 0) {
    text += ": ";
    text += std::strerror(error.system_error());
  }
  return text;
}

}  // namespace waystation
