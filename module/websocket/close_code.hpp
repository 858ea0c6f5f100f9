// Close codes (RFC 6455, section 7.4, and the registry it opened).
#pragma once

#include <cstdint>
#include <string_view>

namespace waystation {

enum class CloseCode : std::uint16_t {
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,
  no_status = 1005,  // never on the wire: the peer's Close had none (section 7.1.5)
  invalid_payload = 1007,
  policy_violation = 1008,
  message_too_big = 1009,
  internal_error = 1011,
  try_again_later = 1013,
  // Waystation's own, of the range for applications (section 7.4.2).
  token_expired = 4401,
  ended_by_administrator = 4403,
  receiver_too_slow = 4408,
};

/// Whether a peer may send `code` in a Close frame (sections 7.4.1 and 7.4.2).
bool may_be_sent(std::uint16_t code) noexcept;

/// The reason text we send along with a code of ours; static, at most 123 bytes.
std::string_view close_reason(CloseCode code) noexcept;

}  // namespace waystation
