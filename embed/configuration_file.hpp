// Reads a configuration file as text, within limits that protect a running server.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace waystation::server {

// toml++ recurses at each part of a dotted key and at each array and inline table. A key of the
// options has one part, and a list is one level.
inline constexpr std::size_t kMaxKeyParts = 16;
inline constexpr std::size_t kMaxNesting = 16;

/// The text of a regular file of at most kMaxSmallFileBytes. Does not wait for the writer of a
/// pipe. Throws ConfigurationError where the file cannot be read or is of another kind.
std::string read_configuration_file(const std::string& path);

/// Throws ConfigurationError where a key of `toml` has more than kMaxKeyParts parts, or values are
/// nested more than kMaxNesting deep. Takes any text without recursion. Nothing that follows the
/// first syntax error of `toml` is certain to be seen. `path` is for the error.
void bound_nesting(std::string_view toml, const std::string& path);

}  // namespace waystation::server
