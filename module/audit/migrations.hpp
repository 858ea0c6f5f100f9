// The steps by which an audit file comes to the shape that this program writes.
#pragma once

#include <span>

namespace waystation {

struct Migration {
  int version;       // what PRAGMA user_version says once it was applied
  const char* name;  // the file's, in sql/
  const char* sql;
};

/// In the order of their versions, which begin with 1.
std::span<const Migration> migrations() noexcept;

}  // namespace waystation
