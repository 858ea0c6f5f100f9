// Tokens: JSON Web Tokens (RFC 7519) signed with HS256, RS256 or ES256 (RFC 7518, section 3.1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "admission/identity.hpp"
#include "admission/keys.hpp"
#include "base/result.hpp"

namespace waystation {

/// The longest token that is accepted, in bytes.
inline constexpr std::size_t kMaxTokenBytes = 8192;

/// The deepest nesting of arrays and objects in a token's header and in its claims.
inline constexpr std::size_t kMaxTokenLevels = 16;

/// Requirements on the claims of a token, besides signature and time.
struct TokenRules {
  std::string issuer;                  // `iss`; empty: not checked
  std::vector<std::string> audiences;  // one of `aud`; empty: not checked
};

/// Why a token is not accepted.
struct TokenProblem {
  std::string detail;           // a clause for the client; says nothing about the keys
  std::string log_detail = {};  // for the log only: key id and algorithm, the keys that were tried
};

/// Checks a token and reads its claims. One of `keys` must verify the signature: the key that `kid`
/// names, or else each in turn. `exp` is required, in the year 9999 at the latest; `exp` and `nbf`
/// are checked without leeway.
/// `rules` apply to `iss` and `aud`. The identity has `sub`, unchanged, and the scopes of `scope`.
/// Any thread. kMaxTokenBytes bounds the memory, and kMaxTokenLevels the stack; see EMBEDDING.md
/// for sizes.
Result<Identity, TokenProblem> verify_token(const KeyRing& keys, const TokenRules& rules,
                                            std::string_view token, std::int64_t now_ms);

/// The claims of a token that `waystation token issue` writes.
struct TokenRequest {
  std::string user;                      // a user id
  std::string scope;                     // "push admin"; empty: none
  std::int64_t issued_at_ms = 0;         // ms since 1970
  std::int64_t lifetime_seconds = 3600;  // at least 1
  std::string issuer;                    // empty: none
  std::vector<std::string> audiences;    // empty: none
  std::string key_id;                    // empty: the first key that can sign
};

struct IssuedToken {
  std::string token;
};
/// Signs a token. The error is a clause.
Result<IssuedToken, std::string> issue_token(const KeyRing& keys, const TokenRequest& request);

}  // namespace waystation
