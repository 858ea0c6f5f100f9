// Writes a binary message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace waystation {

/// Appends numbers in network byte order, and texts, to a message. See ByteReader.
class ByteWriter {
 public:
  /// `out` must outlive the writer.
  explicit ByteWriter(std::string& out) noexcept : out_(out) {}

  /// The lowest `size` bytes of `value`.
  void number(std::uint64_t value, unsigned size) {
    for (unsigned i = size; i-- > 0;) out_ += static_cast<char>(value >> (8 * i) & 0xFF);
  }
  void u8(std::uint8_t value) { number(value, 1); }
  void u16(std::uint16_t value) { number(value, 2); }
  void u32(std::uint32_t value) { number(value, 4); }
  void u64(std::uint64_t value) { number(value, 8); }
  void text(std::string_view text) { out_ += text; }

 private:
  std::string& out_;
};

}  // namespace waystation
