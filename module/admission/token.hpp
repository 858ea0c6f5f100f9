// Tokens: JSON Web Tokens (RFC 7519) signed with HS256, RS256 or ES256 (RFC 7518, section 3.1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "admission/identity.hpp"
#include "admission/keys.hpp"

namespace waystation {

/// The longest token that is looked at, in bytes.
inline constexpr std::size_t kMaxTokenBytes = 8192;

/// The deepest nesting of arrays and objects in a token's header and in its claims.
inline constexpr std::size_t kMaxTokenLevels = 16;

/// What a token must say besides being signed and in time.
struct TokenRules {
  std::string issuer;                  // `iss`; empty: not looked at
  std::vector<std::string> audiences;  // one of `aud`; empty: not looked at
};

/// Checks a token and reads its claims: signature by one of `keys` (by `kid` where both have one,
/// else in turn), `exp` (required) and `nbf` without leeway, `iss`, `aud`, `sub`, `scope`. The
/// identity's user is `sub` as it stands, nothing where there is none.
///
/// The error is a clause for the client: what is wrong with it, and nothing about the keys. Any
/// thread. The memory used is bounded by kMaxTokenBytes, the stack by kMaxTokenLevels as well:
/// EMBEDDING.md states how much of it.
///
/// `*log_detail`, if it is there, gets what only the log may say: which key and algorithm the token
/// names, and which keys were tried.
std::variant<Identity, std::string> verify_token(const KeyRing& keys, const TokenRules& rules,
                                                 std::string_view token, std::int64_t now_ms,
                                                 std::string* log_detail = nullptr);

/// Why a token is not accepted.
struct TokenProblem {
  std::string detail;      // for the client
  std::string log_detail;  // for the log only; may be empty
};

/// What `waystation token issue` puts into a token.
struct TokenRequest {
  std::string user;                      // a user id
  std::string scope;                     // "push admin"; empty: none
  std::int64_t issued_at_ms = 0;         // ms since 1970
  std::int64_t lifetime_seconds = 3600;  // at least 1
  std::string issuer;                    // empty: none
  std::vector<std::string> audiences;    // empty: none
  std::string key_id;                    // empty: the first key that can sign
};

/// The token, or a clause that says why there is none.
struct IssuedToken {
  std::string token;
};
std::variant<IssuedToken, std::string> issue_token(const KeyRing& keys,
                                                   const TokenRequest& request);

}  // namespace waystation
