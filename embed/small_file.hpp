// Reads files that an operator names, within limits that protect a running server.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <variant>

namespace waystation::server {

inline constexpr std::size_t kMaxSmallFileBytes = 1 << 20;

struct SmallFile {
  std::string text;
  mode_t mode = 0;
  uid_t owner = 0;
};

/// A regular file of at most kMaxSmallFileBytes, or what is wrong with it, such as "a directory".
/// Does not wait for the writer of a pipe.
std::variant<SmallFile, std::string> read_small_file(const std::string& path);

}  // namespace waystation::server
