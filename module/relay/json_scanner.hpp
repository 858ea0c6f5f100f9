// A strict scanner for JSON texts (RFC 8259). It decides what is JSON and where values lie, and
// never turns them into anything else: a message's value is passed on as the bytes it was.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace waystation {

/// The deepest nesting of arrays and objects in one text.
inline constexpr std::size_t kMaxJsonLevels = 512;

/// A checked cursor over one JSON text. The text must be UTF-8; inside strings nothing else about
/// it is looked at, so that lone \u surrogates and any number's digits pass as they stand.
///
/// Each function that expects something moves past it and returns true, or returns false, leaving
/// problem() and position() to say what is wrong and where. After that only those two are legal.
/// Iterative, so that no input can exhaust the stack. One thread at a time.
class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) noexcept
      : begin_(text.data()), at_(begin_), end_(begin_ + text.size()) {}

  /// Moves past white space (section 2).
  void skip_space() noexcept {
    while (at_ != end_ && is_space(*at_)) ++at_;
  }

  /// Moves past `c` where it is next.
  bool accept(char c) noexcept {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }

  /// Expects `c`; `problem` is what problem() then says.
  bool expect(char c, const char* problem) noexcept { return accept(c) || fail(problem); }

  /// Expects a string; `*contents` is what stands between its quotes, still escaped.
  bool string(std::string_view* contents) noexcept;

  /// Expects one value of any kind, which lies `level` containers deep; `*value` is its text,
  /// without the white space around it.
  bool value(std::string_view* value, std::size_t level = 0) noexcept;

  /// Expects the end of the text, white space before it allowed.
  bool end() noexcept;

  const char* problem() const noexcept { return problem_; }
  /// The offset of the next byte, or of the one that is wrong.
  std::size_t position() const noexcept { return static_cast<std::size_t>(at_ - begin_); }
  bool at_end() const noexcept { return at_ == end_; }
  /// The next byte; not legal at the end.
  char peek() const noexcept { return *at_; }

 private:
  static constexpr bool is_space(char c) noexcept {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
  }
  bool fail(const char* problem) noexcept {
    problem_ = problem;
    return false;
  }
  bool skip_string() noexcept;
  bool skip_escape() noexcept;
  bool skip_number() noexcept;
  bool skip_literal(std::string_view word) noexcept;
  bool skip_scalar() noexcept;
  bool skip_digits() noexcept;

  const char* begin_;
  const char* at_;
  const char* end_;
  const char* problem_ = "";
};

/// Whether `text` is one JSON text.
bool is_json(std::string_view text) noexcept;

/// The characters of a string's escaped contents, written to `buffer`: only where all of them are
/// ASCII and they fit, which is true of every name and id the protocol knows. Otherwise nothing.
std::optional<std::string_view> unescape_ascii(std::string_view contents, char* buffer,
                                               std::size_t buffer_size) noexcept;

}  // namespace waystation
