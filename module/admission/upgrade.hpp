// The opening handshake of a request for a socket (RFC 6455, section 4.2.1).
#pragma once

#include <string>
#include <string_view>

#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "base/result.hpp"

namespace waystation {

inline constexpr std::string_view kSubprotocol = "waystation.v1";

/// The subprotocols that a request offers in all its Sec-WebSocket-Protocol fields (RFC 6455,
/// section 11.3.4).
struct Offers {
  bool any = false;
  bool v1 = false;
};
Offers subprotocol_offers(const Request& request);

/// Checks the WebSocket handshake. On success `*key` is its Sec-WebSocket-Key. Refused with 426
/// upgrade_required, 400 bad_handshake.
Result<void, Refusal> check_handshake(const Request& request, std::string* key);

}  // namespace waystation
