// An incremental UTF-8 validator (RFC 3629; RFC 6455, section 8.1).
#pragma once

#include <cstdint>
#include <string_view>

namespace waystation {

/// Validates a text that arrives in pieces, split at any byte. Fails at the first invalid byte.
/// Overlong forms, surrogates and code points above U+10FFFF are invalid.
class Utf8Checker {
 public:
  /// Validates the next piece. False after the first invalid byte, until reset().
  bool feed(std::string_view piece) noexcept;

  /// Whether the text is valid so far and does not end inside a character.
  bool at_boundary() const noexcept { return pending_ == 0 && !failed_; }

  void reset() noexcept { *this = {}; }

 private:
  std::uint8_t pending_ = 0;  // missing continuation bytes
  std::uint8_t low_ = 0x80;   // the range of the next one
  std::uint8_t high_ = 0xBF;
  bool failed_ = false;
};

/// Whether a whole text is UTF-8.
bool is_utf8(std::string_view text) noexcept;

}  // namespace waystation
