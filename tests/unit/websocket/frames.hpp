// Builds valid and invalid client frames, field by field.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace waystation::test {

/// One frame of RFC 6455, section 5.2. The defaults are those of an unfragmented, masked text
/// frame.
struct Frame {
  unsigned opcode = 1;
  std::string payload = {};
  bool fin = true;
  unsigned reserved = 0;  // RSV1 to RSV3 as a number of three bits
  bool masked = true;
  std::array<unsigned char, 4> mask = {0x37, 0xFA, 0x21, 0x3D};
  enum class Length { minimal, in_16_bits, in_64_bits } length = Length::minimal;
  std::optional<std::uint64_t> claimed = {};  // a length other than the payload's

  std::string bytes() const {
    const std::uint64_t size = claimed.value_or(payload.size());
    auto form = length;
    if (form == Length::minimal && size > 0xFFFF) form = Length::in_64_bits;
    if (form == Length::minimal && size > 125) form = Length::in_16_bits;
    std::string text;
    put(text, (fin ? 0x80U : 0U) | reserved << 4 | opcode);
    const unsigned mask_bit = masked ? 0x80U : 0U;
    if (form == Length::minimal) {
      put(text, mask_bit | static_cast<unsigned>(size));
    } else {
      put(text, mask_bit | (form == Length::in_16_bits ? 126U : 127U));
      for (int shift = form == Length::in_16_bits ? 8 : 56; shift >= 0; shift -= 8) {
        put(text, static_cast<unsigned>(size >> shift & 0xFF));
      }
    }
    if (!masked) return text + payload;
    for (const auto byte : mask) put(text, byte);
    for (std::size_t i = 0; i < payload.size(); ++i) {
      put(text, static_cast<unsigned char>(payload[i]) ^ unsigned{mask[i % 4]});
    }
    return text;
  }

 private:
  static void put(std::string& text, unsigned byte) { text += static_cast<char>(byte); }
};

constexpr unsigned kContinuation = 0;
constexpr unsigned kText = 1;
constexpr unsigned kBinary = 2;
constexpr unsigned kClose = 8;
constexpr unsigned kPing = 9;
constexpr unsigned kPong = 10;

inline std::string close_frame(unsigned code, std::string_view reason = {}) {
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)};
  return Frame{.opcode = kClose, .payload = payload + std::string(reason)}.bytes();
}

}  // namespace waystation::test
