#include "websocket/close_code.hpp"

namespace waystation {

bool may_be_sent(std::uint16_t code) noexcept {
  // 1004 is reserved; 1005, 1006 and 1015 only stand for what was not on the wire.
  if (code >= 1000 && code <= 1014) return code != 1004 && code != 1005 && code != 1006;
  return code >= 3000 && code <= 4999;
}

std::string_view close_reason(CloseCode code) noexcept {
  switch (code) {
    case CloseCode::normal:
      return "";
    case CloseCode::going_away:
      return "the server is going away";
    case CloseCode::protocol_error:
      return "that is not RFC 6455";
    case CloseCode::unsupported_data:
      return "only text frames are taken here";
    case CloseCode::no_status:
      return "";
    case CloseCode::invalid_payload:
      return "the text is not UTF-8";
    case CloseCode::policy_violation:
      return "a message was not completed in time";
    case CloseCode::message_too_big:
      return "the message is longer than max_message_bytes";
    case CloseCode::internal_error:
      return "the server has a defect";
    case CloseCode::try_again_later:
      return "the server is full";
    case CloseCode::token_expired:
      return "the token has expired";
    case CloseCode::ended_by_administrator:
      return "ended by an administrator";
    case CloseCode::receiver_too_slow:
      return "the receiver is too slow";
  }
  return "";
}

}  // namespace waystation
