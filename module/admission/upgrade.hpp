// The opening handshake of a request for a socket (RFC 6455, section 4.2.1).
#pragma once

#include <string>
#include <string_view>

#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "base/result.hpp"

namespace waystation {

inline constexpr std::string_view kSubprotocol = "waystation.v1";

/// What a request offers in all its Sec-WebSocket-Protocol fields (RFC 6455, section 11.3.4).
struct Offers {
  bool any = false;
  bool v1 = false;
};
Offers subprotocol_offers(const Request& request);

/// The last check: whether it is a WebSocket handshake. On success `*key` is its key.
Result<void, Refusal> check_handshake(const Request& request, std::string* key);

}  // namespace waystation
