// The identity of a caller, and its scopes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "admission/request.hpp"

namespace waystation {

/// A permission beyond the use of one's own sockets.
enum class Scope : std::uint8_t { push = 1, admin = 2 };
std::string_view scope_name(Scope scope) noexcept;

/// A set of scopes.
class Scopes {
 public:
  /// Parses names separated by white space (RFC 6749, section 3.3). Unknown names are ignored: they
  /// may be for other services.
  static Scopes parse(std::string_view text) noexcept;

  bool has(Scope scope) const noexcept { return (bits_ & static_cast<unsigned>(scope)) != 0; }
  void add(Scope scope) noexcept { bits_ |= static_cast<unsigned>(scope); }

 private:
  unsigned bits_ = 0;
};

/// An identified caller.
struct Identity {
  std::optional<std::string> user;  // none: anonymous, in open mode only. Not checked: the caller
                                    // of identify() checks whether it is a user id
  Scopes scopes;
  std::int64_t expires_at_ms = 0;  // ms since 1970; 0: never
};

/// The host application's function; returns nothing if the caller is unknown. Called on the web
/// server's threads, several at once. An exception becomes a 500.
using Identify = std::function<std::optional<Identity>(const Request&)>;

}  // namespace waystation
