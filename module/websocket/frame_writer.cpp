#include "websocket/frame_writer.hpp"

namespace waystation {

FrameHeader::FrameHeader(Opcode opcode, std::uint64_t payload_bytes) noexcept {
  bytes_[0] = static_cast<char>(0x80U | static_cast<unsigned>(opcode));
  std::size_t extended = 0;
  if (payload_bytes < 126) {
    bytes_[1] = static_cast<char>(payload_bytes);
  } else if (payload_bytes <= 0xFFFF) {
    bytes_[1] = 126;
    extended = 2;
  } else {
    bytes_[1] = 127;
    extended = 8;
  }
  for (std::size_t i = 0; i < extended; ++i) {
    bytes_[2 + i] = static_cast<char>(payload_bytes >> 8 * (extended - 1 - i) & 0xFF);
  }
  size_ = 2 + extended;
}

std::string close_payload(CloseCode code, std::string_view reason) {
  if (code == CloseCode::no_status) return {};
  const auto number = static_cast<std::uint16_t>(code);
  std::string payload{static_cast<char>(number >> 8), static_cast<char>(number & 0xFF)};
  payload += reason;
  return payload;
}

}  // namespace waystation
