// How an audit's writing goes, and what an error says of it.
#pragma once

#include <cstdint>
#include <string>

#include "audit/sqlite.hpp"

namespace waystation {

enum class AuditState : std::uint8_t {
  starting,  // the file is being opened
  ok,
  disk_full,  // or a quota or a file-size limit is reached
  locked,     // another process holds the file's lock
  read_only,  // the file system, or the file
  held,       // another process reads without an end
  failed,     // anything else
};

/// In words, such as "disk full".
const char* audit_state_text(AuditState state) noexcept;

/// What an errno, or an error of SQLite's, is a case of.
AuditState state_of(int system_error) noexcept;
AuditState state_of(const SqliteError& error) noexcept;

/// What SQLite says, with the errno behind it in words.
std::string words_of(const SqliteError& error);

}  // namespace waystation
