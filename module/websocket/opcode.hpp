// Frame opcodes (RFC 6455, section 5.2).
#pragma once

#include <cstdint>

namespace waystation {

enum class Opcode : std::uint8_t {
  continuation = 0x0,
  text = 0x1,
  binary = 0x2,
  close = 0x8,
  ping = 0x9,
  pong = 0xA,
};

/// Whether an opcode is for control frames, defined or reserved (section 5.5).
constexpr bool is_control(Opcode opcode) noexcept {
  return (static_cast<std::uint8_t>(opcode) & 0x8U) != 0;
}

}  // namespace waystation
