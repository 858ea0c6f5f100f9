// UTF-8 as RFC 3629 defines it, checked piece by piece (RFC 6455, section 8.1).
#pragma once

#include <cstdint>
#include <string_view>

namespace waystation {

/// Checks a text that arrives in pieces, cut anywhere. Fails at the first byte that cannot be
/// part of UTF-8: overlong forms, surrogates and code points beyond U+10FFFF included.
class Utf8Checker {
 public:
  /// Takes the next piece. False once anything was wrong; it stays so until reset().
  bool feed(std::string_view piece) noexcept;

  /// Whether the text may end here: nothing wrong, and no character cut in two.
  bool at_boundary() const noexcept { return pending_ == 0 && !failed_; }

  void reset() noexcept { *this = {}; }

 private:
  std::uint8_t pending_ = 0;  // continuation bytes still to come
  std::uint8_t low_ = 0x80;   // what the next of them may be
  std::uint8_t high_ = 0xBF;
  bool failed_ = false;
};

/// Whether a whole text is UTF-8.
bool is_utf8(std::string_view text) noexcept;

}  // namespace waystation
