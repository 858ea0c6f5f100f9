// Where the engine is, as the option `cluster` names it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace waystation {

/// A host and port, or the path of a unix socket.
struct EngineHost {
  std::string host;        // a name, an IPv4 address, an IPv6 address without brackets; or a path
  std::uint16_t port = 0;  // 0: `host` is the path of a unix socket

  bool is_path() const noexcept { return port == 0; }
  /// "host:port", "[::1]:6379" or the path.
  std::string describe() const;
  friend bool operator==(const EngineHost&, const EngineHost&) = default;
};

/// One shard: a primary at a fixed address, or one that Sentinel names.
struct EngineAddress {
  std::vector<EngineHost> hosts;  // the primary; with Sentinel: the Sentinels, one or more
  std::string primary_name;       // empty: no Sentinel
  std::string user;               // of the primary; empty: the default user
  std::string password;           // of the primary; empty: none
  std::uint32_t database = 0;

  bool uses_sentinel() const noexcept { return !primary_name.empty(); }
  /// Whether both name one server, in whatever database. Two names of one server are not noticed.
  bool has_server_of(const EngineAddress& other) const noexcept;
  /// For a log line: the address without user and password.
  std::string describe() const;
};

/// What is wrong with two addresses that lead to one server, as a clause. `other` as describe().
std::string same_server_clause(std::string_view other);

/// What parse_engine_address() accepts, for the texts of the option and of its errors.
inline constexpr char kEngineAddressAllowed[] =
    "redis://[[user]:password@]host[:port][/database], "
    "redis+sentinel://[[user]:password@]host[:port],.../primary-name[/database] or "
    "unix://[[user]:password@]/path";

/// Parses one of
///
///     redis://[[user]:password@]host[:port][/database]
///     redis+sentinel://[[user]:password@]host[:port],host[:port].../primary-name[/database]
///     unix://[[user]:password@]/path
///
/// User and password may have %XX escapes. Ports are 6379 and 26379 by default. The error names
/// `option` and never shows a user or password.
Result<EngineAddress> parse_engine_address(std::string_view option, std::string_view text);

}  // namespace waystation
