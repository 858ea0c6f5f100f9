// The migrations that bring an audit file to the current schema version.
#pragma once

#include <span>

namespace waystation {

struct Migration {
  int version;       // PRAGMA user_version after the migration
  const char* name;  // of the file in sql/
  const char* sql;
};

/// Ordered by version, starting with 1.
std::span<const Migration> migrations() noexcept;

}  // namespace waystation
