// Finds the token of a request.
#pragma once

#include <optional>
#include <string>

#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "base/result.hpp"

namespace waystation {

/// The 401 for a token that is missing or not valid, with WWW-Authenticate (RFC 6750, section 3).
Refusal bad_token(std::string detail);

/// The unverified token, or nothing if the request has none, or a refusal if it is ambiguous.
using FoundToken = Result<std::optional<std::string>, Refusal>;

/// The token of a request: from `Authorization: Bearer`, a subprotocol entry `bearer.<token>`, the
/// cookie `waystation_token` or, with `allow_query`, the parameter `access_token`. The first of
/// these places that has a token decides, even if that token is invalid.
FoundToken find_token(const Request& request, bool allow_query);

}  // namespace waystation
