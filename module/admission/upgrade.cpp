#include "admission/upgrade.hpp"

#include <algorithm>
#include <utility>

#include "base/ascii.hpp"
#include "websocket/handshake.hpp"

namespace waystation {
namespace {

Refusal bad_handshake(std::string detail) {
  return {RefusalCode::bad_handshake, std::move(detail)};
}

Refusal upgrade_required(std::string detail) {
  return {RefusalCode::upgrade_required,
          std::move(detail),
          {{"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}}};
}

/// Whether any field with that name contains `token`.
bool lists_token(const Request& request, std::string_view name, std::string_view token) {
  return std::ranges::any_of(request.headers, [&](const HeaderField& field) {
    return equal_ignoring_case(field.name, name) && has_token(field.value, token);
  });
}

}  // namespace

Offers subprotocol_offers(const Request& request) {
  Offers offers;
  for (const HeaderField& field : request.headers) {
    if (!equal_ignoring_case(field.name, "Sec-WebSocket-Protocol")) continue;
    for_each_token(field.value, [&](std::string_view entry) {
      offers.any = true;
      offers.v1 |= entry == kSubprotocol;
    });
  }
  return offers;
}

Result<void, Refusal> check_handshake(const Request& request, std::string* key) {
  if (!lists_token(request, "Upgrade", "websocket")) {
    return upgrade_required(
        "this route speaks WebSocket, and an upgrade would succeed (a proxy in front must forward "
        "Upgrade and Connection)");
  }
  if (!lists_token(request, "Connection", "upgrade")) {
    return bad_handshake("Connection does not name Upgrade; a proxy in front must forward it");
  }
  if (is_before_http_1_1(request)) {
    return bad_handshake("the handshake needs HTTP/1.1; a proxy in front uses an older version");
  }
  // A body would be parsed as frames.
  const OneValue length = header_value(request, "Content-Length");
  if ((!length.is_none() && length.value != "0") ||
      !header_value(request, "Transfer-Encoding").is_none()) {
    return bad_handshake("the handshake has no body");
  }
  const OneValue version = header_value(request, "Sec-WebSocket-Version");
  if (version.value != "13") {
    return upgrade_required("Sec-WebSocket-Version must be 13");
  }
  const OneValue field = header_value(request, "Sec-WebSocket-Key");
  if (!field.is_one() || !is_valid_key(field.value)) {
    return bad_handshake("there must be one Sec-WebSocket-Key: 16 bytes in base64");
  }
  *key = field.value;
  return {};
}

}  // namespace waystation
