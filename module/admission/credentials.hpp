// Where a request carries its token.
#pragma once

#include <optional>
#include <string>

#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "base/result.hpp"

namespace waystation {

/// The 401 for a token that is missing or not good; it names the scheme to use (RFC 6750,
/// section 3).
Refusal bad_token(std::string detail);

/// A token as it came, or nothing where there is none; or why what came cannot be taken.
using FoundToken = Result<std::optional<std::string>, Refusal>;

/// The token of a request: from `Authorization: Bearer`, a subprotocol entry `bearer.<token>`, the
/// cookie `waystation_token` or, where `allow_query`, the parameter `access_token`. Where a client
/// gives several, the first of these places counts, and a bad token there is not made good by
/// another elsewhere.
FoundToken find_token(const Request& request, bool allow_query);

}  // namespace waystation
