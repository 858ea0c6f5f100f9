// Who a caller is and what they may do.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "admission/request.hpp"

namespace waystation {

/// What a caller may do beyond being themselves.
enum class Scope : std::uint8_t { push = 1, admin = 2 };
std::string_view scope_name(Scope scope) noexcept;

/// A set of scopes.
class Scopes {
 public:
  /// Reads names separated by white space (RFC 6749, section 3.3). Names we do not know are other
  /// people's and mean nothing.
  static Scopes parse(std::string_view text) noexcept;

  bool has(Scope scope) const noexcept { return (bits_ & static_cast<unsigned>(scope)) != 0; }
  void add(Scope scope) noexcept { bits_ |= static_cast<unsigned>(scope); }

 private:
  unsigned bits_ = 0;
};

/// Someone who is known.
struct Identity {
  std::optional<std::string> user;  // nothing: anonymous, in open mode only. Else whatever the
                                    // source says; whether it is a user id is checked by whom it
                                    // matters to
  Scopes scopes;
  std::int64_t expires_at_ms = 0;  // ms since 1970; 0: never
};

/// The embedder's own function: nothing where the caller is not known. Called on the web server's
/// threads, several at once. What it throws becomes a 500.
using Identify = std::function<std::optional<Identity>(const Request&)>;

}  // namespace waystation
