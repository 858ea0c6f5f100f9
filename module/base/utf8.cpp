#include "base/utf8.hpp"

#include <cstring>

#include "base/utf8_vector.hpp"

namespace waystation {
namespace {

// For shorter texts, the call costs more than it saves.
constexpr std::size_t kLongText = 2 * kUtf8BlockBytes;

/// The length of the longest ASCII prefix. Checks up to 32 bytes at a time.
std::size_t ascii_prefix(std::string_view text) noexcept {
  constexpr std::uint64_t tops = 0x8080808080808080U;
  std::size_t at = 0;
  for (; at + 32 <= text.size(); at += 32) {
    std::uint64_t words[4];
    std::memcpy(words, text.data() + at, sizeof words);
    if (((words[0] | words[1] | words[2] | words[3]) & tops) != 0) break;
  }
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, sizeof word);
    if ((word & tops) != 0) break;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

/// The length of the first character of `text`, which has at least four bytes. 0 if it is ASCII or
/// not valid. The masks test the same rules as the byte-wise code of feed().
std::size_t character_length(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) {
    return std::uint32_t{static_cast<unsigned char>(text[i])};
  };
  const auto word = byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
  if ((word & 0xF0C0C000U) == 0xE0808000U) {
    const auto start = word & 0x0F200000U;
    return start != 0 && start != 0x0D200000U ? 3 : 0;  // no overlong form, no surrogate
  }
  if ((word & 0xE0C00000U) == 0xC0800000U) {
    return (word & 0x1E000000U) != 0 ? 2 : 0;  // no overlong form
  }
  if ((word & 0xF8C0C0C0U) == 0xF0808080U) {
    const auto start = word & 0x07300000U;
    return start >= 0x00100000U && start <= 0x04000000U ? 4 : 0;  // nothing above U+10FFFF
  }
  return 0;
}

/// The length of the longest prefix of complete non-ASCII characters. Ignores the last three bytes.
std::size_t characters_prefix(std::string_view text) noexcept {
  std::size_t at = 0;
  while (text.size() - at >= 4) {
    const auto length = character_length(text.substr(at));
    if (length == 0) break;
    at += length;
  }
  return at;
}

}  // namespace

bool Utf8Checker::feed(std::string_view piece) noexcept {
  if (failed_) return false;
  std::size_t at = 0;
  while (at < piece.size()) {
    if (pending_ == 0) {
      // The fast path. The code below handles invalid and incomplete characters.
      if (piece.size() - at >= kLongText) at += valid_blocks(piece.substr(at));
      at += ascii_prefix(piece.substr(at));
      at += characters_prefix(piece.substr(at));
      if (at == piece.size()) break;
    }
    const auto byte = static_cast<unsigned char>(piece[at++]);
    if (pending_ != 0) {
      if (byte < low_ || byte > high_) {
        failed_ = true;
        return false;
      }
      --pending_;
      low_ = 0x80;
      high_ = 0xBF;
    } else if (byte < 0x80) {
      continue;
    } else if (byte >= 0xC2 && byte <= 0xDF) {
      pending_ = 1;
    } else if ((byte & 0xF0) == 0xE0) {
      pending_ = 2;
      if (byte == 0xE0) low_ = 0xA0;   // no overlong forms
      if (byte == 0xED) high_ = 0x9F;  // no surrogates
    } else if (byte >= 0xF0 && byte <= 0xF4) {
      pending_ = 3;
      if (byte == 0xF0) low_ = 0x90;   // no overlong forms
      if (byte == 0xF4) high_ = 0x8F;  // nothing above U+10FFFF
    } else {
      failed_ = true;
      return false;
    }
  }
  return true;
}

bool is_utf8(std::string_view text) noexcept {
  Utf8Checker checker;
  return checker.feed(text) && checker.at_boundary();
}

}  // namespace waystation
