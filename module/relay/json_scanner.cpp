#include "relay/json_scanner.hpp"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace waystation {
namespace {

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

// A byte of a string is special if it is the closing quote, an escape or a control character.

#if defined(__SSE2__)
/// One bit for each of the 16 bytes at `at`, set if the byte is special.
unsigned special_of_16(const char* at) noexcept {
  const auto bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  const auto control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
  const auto quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  const auto backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  return static_cast<unsigned>(
      _mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash))));
}
#else
constexpr bool is_special(char c) noexcept {
  return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
}
#endif

/// The first special byte of [at, end), or end.
const char* find_special(const char* at, const char* end) noexcept {
#if defined(__SSE2__)
  for (; end - at >= 16; at += 16) {
    const auto mask = special_of_16(at);
    if (mask != 0) return at + __builtin_ctz(mask);
  }
  // The remaining bytes, fewer than 16, are checked in one step too, padded with special bytes.
  std::array<char, 16> rest;
  rest.fill('"');
  const auto left = static_cast<std::size_t>(end - at);
  std::memcpy(rest.data(), at, left);
  const auto mask = special_of_16(rest.data());
  return mask == 0 ? end : at + std::min(left, static_cast<std::size_t>(__builtin_ctz(mask)));
#else
  // Eight bytes at a time: the top bit of a byte is set if the byte is special. Bytes of 0x80 and
  // more are masked out. A false positive only ends the loop early.
  constexpr std::uint64_t ones = 0x0101010101010101U;
  constexpr std::uint64_t tops = 0x8080808080808080U;
  const auto has_below = [](std::uint64_t x, std::uint64_t n) {
    return (x - ones * n) & ~x & tops;
  };
  for (; end - at >= 8; at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    if ((has_below(word, 0x20) | has_below(word ^ ones * '"', 1) |
         has_below(word ^ ones * '\\', 1)) != 0) {
      break;
    }
  }
  while (at != end && !is_special(*at)) ++at;
  return at;
#endif
}

int hex_value(char c) noexcept {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool JsonScanner::string(std::string_view* contents) noexcept {
  const char* start = at_ + 1;
  if (at_ == end_ || *at_ != '"') return fail("expected a string in double quotes");
  if (!skip_string()) return false;
  *contents = {start, static_cast<std::size_t>(at_ - 1 - start)};
  return true;
}

bool JsonScanner::skip_string() noexcept {
  ++at_;
  for (;;) {
    at_ = find_special(at_, end_);
    if (at_ == end_) return fail("unterminated string");
    if (*at_ == '"') {
      ++at_;
      return true;
    }
    if (*at_ != '\\') return fail("a control character in a string is not escaped");
    if (!skip_escape()) return false;
  }
}

bool JsonScanner::skip_escape() noexcept {
  ++at_;
  if (at_ == end_) return fail("unterminated string");
  if (*at_ != 'u') {
    if (std::string_view("\"\\/bfnrt").find(*at_) == std::string_view::npos) {
      return fail("unknown escape sequence");
    }
    ++at_;
    return true;
  }
  ++at_;
  for (int i = 0; i < 4; ++i, ++at_) {
    if (at_ == end_ || hex_value(*at_) < 0)
      return fail("expected four hexadecimal digits after \\u");
  }
  return true;
}

bool JsonScanner::skip_digits() noexcept {
  if (at_ == end_ || !is_digit(*at_)) return fail("expected a digit");
  while (at_ != end_ && is_digit(*at_)) ++at_;
  return true;
}

bool JsonScanner::skip_number() noexcept {
  accept('-');
  if (accept('0')) {
    if (at_ != end_ && is_digit(*at_)) return fail("a number has a leading zero");
  } else if (!skip_digits()) {
    return false;
  }
  if (accept('.') && !skip_digits()) return false;
  if (accept('e') || accept('E')) {
    if (!accept('+')) accept('-');
    if (!skip_digits()) return false;
  }
  return true;
}

bool JsonScanner::skip_literal(std::string_view word) noexcept {
  const auto left = static_cast<std::size_t>(end_ - at_);
  if (left < word.size() || std::memcmp(at_, word.data(), word.size()) != 0) {
    return fail("expected a value");
  }
  at_ += word.size();
  return true;
}

bool JsonScanner::skip_scalar() noexcept {
  switch (*at_) {
    case '"':
      return skip_string();
    case 't':
      return skip_literal("true");
    case 'f':
      return skip_literal("false");
    case 'n':
      return skip_literal("null");
    default:
      if (*at_ == '-' || is_digit(*at_)) return skip_number();
      return fail("expected a value");
  }
}

bool JsonScanner::value(std::string_view* value, std::size_t level) noexcept {
  skip_space();
  const char* start = at_;
  if (at_ != end_ && *at_ != '{' && *at_ != '[') {
    if (!skip_scalar()) return false;
    *value = {start, static_cast<std::size_t>(at_ - start)};
    return true;
  }
  std::bitset<kMaxJsonLevels> is_object;  // of each open container
  const std::size_t outermost = level;
  for (;;) {
    // A value starts here.
    skip_space();
    if (at_ == end_) return fail("expected a value before the end of the text");
    if (*at_ == '{' || *at_ == '[') {
      if (level >= kMaxJsonLevels) return fail("more than 512 nested arrays and objects");
      const bool object = *at_ == '{';
      is_object[level++] = object;
      ++at_;
      skip_space();
      if (accept(object ? '}' : ']')) {
        --level;
      } else if (object) {
        std::string_view name;
        if (!string(&name)) return false;
        skip_space();
        if (!expect(':', "expected ':' after a name")) return false;
        continue;
      } else {
        continue;
      }
    } else if (!skip_scalar()) {
      return false;
    }
    // A value ended here. Close containers up to the next value.
    for (;;) {
      if (level == outermost) {
        *value = {start, static_cast<std::size_t>(at_ - start)};
        return true;
      }
      skip_space();
      const bool object = is_object[level - 1];
      if (accept(object ? '}' : ']')) {
        --level;
        continue;
      }
      if (!expect(',', object ? "expected ',' or '}'" : "expected ',' or ']'")) {
        return false;
      }
      if (object) {
        skip_space();
        std::string_view name;
        if (!string(&name)) return false;
        skip_space();
        if (!expect(':', "expected ':' after a name")) return false;
      }
      break;
    }
  }
}

bool JsonScanner::end() noexcept {
  skip_space();
  return at_ == end_ || fail("expected the end of the text after its value");
}

bool is_json(std::string_view text, std::size_t max_levels) noexcept {
  JsonScanner scanner(text);
  std::string_view value;
  return scanner.value(&value, kMaxJsonLevels - max_levels) && scanner.end();
}

std::optional<std::string_view> unescape_ascii(std::string_view contents, char* buffer,
                                               std::size_t buffer_size) noexcept {
  std::size_t size = 0;
  for (std::size_t i = 0; i < contents.size(); ++i) {
    int c = static_cast<unsigned char>(contents[i]);
    if (c == '\\') {
      c = static_cast<unsigned char>(contents[++i]);
      switch (c) {
        case 'b':
          c = '\b';
          break;
        case 'f':
          c = '\f';
          break;
        case 'n':
          c = '\n';
          break;
        case 'r':
          c = '\r';
          break;
        case 't':
          c = '\t';
          break;
        case 'u':
          c = 0;
          for (int digit = 0; digit < 4; ++digit) c = c * 16 + hex_value(contents[++i]);
          break;
        default:
          break;
      }
    }
    if (c >= 0x80 || size == buffer_size) return std::nullopt;
    buffer[size++] = static_cast<char>(c);
  }
  return std::string_view(buffer, size);
}

}  // namespace waystation
