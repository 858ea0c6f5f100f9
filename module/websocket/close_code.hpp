// Close codes (RFC 6455, section 7.4, and the IANA registry).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace waystation {

enum class CloseCode : std::uint16_t {
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,
  no_status = 1005,  // never sent: the peer's Close had no code (section 7.1.5)
  invalid_payload = 1007,
  policy_violation = 1008,
  message_too_big = 1009,
  internal_error = 1011,
  try_again_later = 1013,
  // Private codes of Waystation, from the range for applications (section 7.4.2).
  token_expired = 4401,
  ended_by_administrator = 4403,
  receiver_too_slow = 4408,
};

struct CloseCodeInfo {
  CloseCode code;
  std::string_view reason;  // sent with the code, at most 123 bytes
};

/// The codes that the server closes with (module/PROTOCOL.md, "What is checked").
inline constexpr std::array kCloseCodes{
    CloseCodeInfo{CloseCode::going_away, "the server is shutting down; try again"},
    CloseCodeInfo{CloseCode::protocol_error, "protocol error"},
    CloseCodeInfo{CloseCode::unsupported_data, "binary frames are not allowed"},
    CloseCodeInfo{CloseCode::invalid_payload, "the text is not UTF-8"},
    CloseCodeInfo{CloseCode::policy_violation, "a message was not completed in time"},
    CloseCodeInfo{CloseCode::message_too_big, "the message is longer than max_message_bytes"},
    CloseCodeInfo{CloseCode::internal_error, "internal error"},
    CloseCodeInfo{CloseCode::try_again_later, "the server is full; try again later"},
    CloseCodeInfo{CloseCode::token_expired, "the token has expired"},
    CloseCodeInfo{CloseCode::ended_by_administrator, "an administrator ended the session"},
    CloseCodeInfo{CloseCode::receiver_too_slow, "the client reads too slowly"},
};

/// Whether a peer may send `code` in a Close frame (sections 7.4.1 and 7.4.2).
bool may_be_sent(std::uint16_t code) noexcept;

/// The reason text of a code in kCloseCodes; empty for any other. Static storage.
constexpr std::string_view close_reason(CloseCode code) noexcept {
  for (const auto& info : kCloseCodes) {
    if (info.code == code) return info.reason;
  }
  return {};
}

static_assert([] {
  for (const auto& info : kCloseCodes) {
    if (info.reason.empty() || info.reason.size() > 123) return false;
  }
  return true;
}());

}  // namespace waystation
