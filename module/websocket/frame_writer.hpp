// Headers of server frames: never masked, never fragmented (RFC 6455, section 5.1).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "websocket/close_code.hpp"
#include "websocket/opcode.hpp"

namespace waystation {

/// The header of one unfragmented frame.
class FrameHeader {
 public:
  FrameHeader(Opcode opcode, std::uint64_t payload_bytes) noexcept;

  std::string_view view() const noexcept { return {bytes_.data(), size_}; }

 private:
  std::array<char, 10> bytes_{};
  std::size_t size_ = 2;
};

/// The payload of a Close frame (section 5.5.1); empty for CloseCode::no_status.
std::string close_payload(CloseCode code, std::string_view reason);

}  // namespace waystation
