#include "relay/json_scanner.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace waystation {
namespace {

// A value's scanner is one function, so that its cursor stays in registers.
#define WAYSTATION_INLINE [[gnu::always_inline]] inline

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

constexpr auto kSimpleEscapes = [] {
  std::array<bool, 256> table{};
  for (const char c : std::string_view("\"\\/bfnrt")) table[static_cast<std::size_t>(c)] = true;
  return table;
}();

/// Whether `c` after a backslash is a whole escape sequence.
constexpr bool is_simple_escape(char c) noexcept {
  return kSimpleEscapes[static_cast<unsigned char>(c)];
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

/// As find_special() of a text that has fewer than 16 bytes in all, padded with special bytes.
[[gnu::noinline]] const char* find_special_in_short(const char* at, const char* end) noexcept {
  std::array<char, 16> rest;
  rest.fill('"');
  const auto left = static_cast<std::size_t>(end - at);
  std::memcpy(rest.data(), at, left);
  const auto mask = special_of_16(rest.data());
  return mask == 0 ? end : at + std::min(left, static_cast<std::size_t>(__builtin_ctz(mask)));
}
#else
constexpr bool is_special(char c) noexcept {
  return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
}
#endif

/// The first special byte of [at, end), or end. The text begins at `begin`.
WAYSTATION_INLINE const char* find_special(const char* begin, const char* at,
                                           const char* end) noexcept {
#if defined(__SSE2__)
  for (; end - at >= 16; at += 16) {
    const auto mask = special_of_16(at);
    if (mask != 0) return at + __builtin_ctz(mask);
  }
  if (end - begin < 16) return find_special_in_short(at, end);
  // The last 16 bytes of the text, without those before `at`.
  const auto mask = special_of_16(end - 16) >> (16 - (end - at));
  return mask == 0 ? end : at + __builtin_ctz(mask);
#else
  (void)begin;
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

WAYSTATION_INLINE bool JsonScanner::skip_string() noexcept {
  ++at_;
  for (;;) {
    at_ = find_special(begin_, at_, end_);
    if (at_ == end_) return fail("unterminated string");
    if (*at_ == '"') {
      ++at_;
      return true;
    }
    if (*at_ != '\\') return fail("a control character in a string is not escaped");
    if (end_ - at_ >= 2 && is_simple_escape(at_[1])) {
      at_ += 2;
    } else if (!skip_escape()) {
      return false;
    }
  }
}

/// A backslash that no simple escape sequence begins with.
bool JsonScanner::skip_escape() noexcept {
  ++at_;
  if (at_ == end_) return fail("unterminated string");
  if (*at_ != 'u') return fail("unknown escape sequence");
  ++at_;
  for (int i = 0; i < 4; ++i, ++at_) {
    if (at_ == end_ || hex_value(*at_) < 0)
      return fail("expected four hexadecimal digits after \\u");
  }
  return true;
}

WAYSTATION_INLINE bool JsonScanner::skip_digits() noexcept {
  if (at_ == end_ || !is_digit(*at_)) return fail("expected a digit");
  do {
    ++at_;
  } while (at_ != end_ && is_digit(*at_));
  return true;
}

WAYSTATION_INLINE bool JsonScanner::skip_number() noexcept {
  if (*at_ == '-') ++at_;
  if (accept('0')) {
    if (at_ != end_ && is_digit(*at_)) return fail("a number has a leading zero");
  } else if (!skip_digits()) {
    return false;
  }
  if (at_ == end_) return true;
  if (*at_ == '.') {
    ++at_;
    if (!skip_digits()) return false;
    if (at_ == end_) return true;
  }
  if ((*at_ | 0x20) == 'e') {
    ++at_;
    if (!accept('+')) accept('-');
    if (!skip_digits()) return false;
  }
  return true;
}

WAYSTATION_INLINE bool JsonScanner::skip_literal(std::string_view word) noexcept {
  const auto left = static_cast<std::size_t>(end_ - at_);
  if (left < word.size() || std::memcmp(at_, word.data(), word.size()) != 0) {
    return fail("expected a value");
  }
  at_ += word.size();
  return true;
}

/// Skips white space. The next byte, or NUL at the end of the text: no token begins with it.
WAYSTATION_INLINE char JsonScanner::next_token() noexcept {
  // Most tokens have no space before them, or one.
  if (at_ != end_ && *at_ == ' ') ++at_;
  if (at_ == end_) return '\0';
  if (static_cast<unsigned char>(*at_) > ' ') return *at_;
  skip_space();
  return at_ == end_ ? '\0' : *at_;
}

/// A name of an object, with its colon. `first` is its first byte.
WAYSTATION_INLINE bool JsonScanner::skip_name(char first) noexcept {
  if (first != '"') return fail("expected a string in double quotes");
  if (!skip_string()) return false;
  if (next_token() != ':') return fail("expected ':' after a name");
  ++at_;
  return true;
}

bool JsonScanner::value(std::string_view* value, std::size_t level) noexcept {
  // A copy, which the compiler keeps in registers.
  auto scanner = *this;
  const bool is_value = scanner.scan_value(value, level);
  *this = scanner;
  return is_value;
}

WAYSTATION_INLINE bool JsonScanner::scan_value(std::string_view* value,
                                               std::size_t level) noexcept {
  std::array<bool, kMaxJsonLevels> are_objects;  // the containers around each open one
  bool is_object = false;                        // the innermost container
  const std::size_t outermost = level;
  char next = next_token();
  const char* const start = at_;
  for (;;) {
    // A value starts here.
    switch (next) {
      case '"':
        if (!skip_string()) return false;
        break;
      case '{':
      case '[':
        if (level >= kMaxJsonLevels) return fail("more than 512 nested arrays and objects");
        are_objects[level++] = is_object;
        is_object = next == '{';
        ++at_;
        next = next_token();
        if (next != (is_object ? '}' : ']')) {
          if (is_object) {
            if (!skip_name(next)) return false;
            next = next_token();
          }
          continue;
        }
        ++at_;
        is_object = are_objects[--level];
        break;
      case 't':
        if (!skip_literal("true")) return false;
        break;
      case 'f':
        if (!skip_literal("false")) return false;
        break;
      case 'n':
        if (!skip_literal("null")) return false;
        break;
      default:
        if (at_ == end_) return fail("expected a value before the end of the text");
        if (next != '-' && !is_digit(next)) return fail("expected a value");
        if (!skip_number()) return false;
    }
    // A value ended here. Close containers up to the next value.
    for (;;) {
      if (level == outermost) {
        *value = {start, static_cast<std::size_t>(at_ - start)};
        return true;
      }
      next = next_token();
      if (next == ',') break;
      if (next != (is_object ? '}' : ']')) {
        return fail(is_object ? "expected ',' or '}'" : "expected ',' or ']'");
      }
      ++at_;
      is_object = are_objects[--level];
    }
    ++at_;
    next = next_token();
    if (is_object) {
      if (!skip_name(next)) return false;
      next = next_token();
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
