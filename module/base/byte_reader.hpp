// Reads a binary message, without ever reading beyond its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace waystation {

/// A cursor over a message whose numbers are in network byte order. Once the message is shorter
/// than a read needs, this and every later read return 0 or an empty text, and is_short() is true.
class ByteReader {
 public:
  explicit ByteReader(std::span<const char> bytes) noexcept : rest_(bytes) {}

  std::uint8_t u8() noexcept { return static_cast<std::uint8_t>(number(1)); }
  std::uint16_t u16() noexcept { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t u32() noexcept { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() noexcept { return number(8); }

  /// A view of the next `size` bytes.
  std::string_view text(std::size_t size) noexcept {
    const auto taken = take(size);
    return {taken.data(), taken.size()};
  }

  bool is_short() const noexcept { return is_short_; }
  /// The bytes that were not read.
  std::size_t left() const noexcept { return rest_.size(); }
  /// Whether every read found its bytes, and none are left.
  bool is_complete() const noexcept { return !is_short_ && rest_.empty(); }

 private:
  std::span<const char> take(std::size_t size) noexcept {
    if (is_short_ || size > rest_.size()) {
      is_short_ = true;
      return {};
    }
    const auto taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }

  std::uint64_t number(std::size_t size) noexcept {
    std::uint64_t value = 0;
    for (const char byte : take(size)) value = value << 8U | static_cast<unsigned char>(byte);
    return value;
  }

  std::span<const char> rest_;
  bool is_short_ = false;
};

}  // namespace waystation
