// The state of an audit's file, and the state that an error puts it into.
#pragma once

#include <cstdint>
#include <string>

#include "audit/sqlite.hpp"

namespace waystation {

enum class AuditState : std::uint8_t {
  starting,  // the file is being opened
  ok,
  disk_full,  // or a quota or a limit on file sizes is reached
  locked,     // another process holds the file's lock
  read_only,  // the file system, or the file
  blocked,    // a long read of another process keeps the WAL from being emptied
  failed,     // anything else
};

/// Such as "disk full".
const char* audit_state_text(AuditState state) noexcept;

/// The state for an errno, or for an error of SQLite.
AuditState state_of(int system_error) noexcept;
AuditState state_of(const SqliteError& error) noexcept;

/// SQLite's message, with that of the errno behind it.
std::string describe(const SqliteError& error);

}  // namespace waystation
