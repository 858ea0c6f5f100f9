// A strict scanner for JSON texts (RFC 8259). It checks the syntax and finds values. It never
// converts them: the value of a message is sent on byte for byte.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace waystation {

/// The deepest nesting of arrays and objects in one text.
inline constexpr std::size_t kMaxJsonLevels = 512;

/// A checked cursor over one JSON text, which must be UTF-8. The contents of strings and numbers
/// are not interpreted: lone \u surrogates and numbers of any length are accepted.
///
/// Each function that expects something moves past it and returns true, or returns false. Then
/// problem() and position() say what is wrong and where, and no other call is legal. Iterative, so
/// that no input can exhaust the stack. One thread at a time.
class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) noexcept
      : begin_(text.data()), at_(begin_), end_(begin_ + text.size()) {}

  /// Moves past white space (section 2).
  void skip_space() noexcept {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
  }

  /// Moves past `c` if it is the next byte, and returns whether it is.
  bool accept(char c) noexcept {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }

  /// Expects `c`; `problem` is the text of problem() otherwise.
  bool expect(char c, const char* problem) noexcept { return accept(c) || fail(problem); }

  /// Expects a string. `*contents` is the text between its quotes, still escaped.
  bool string(std::string_view* contents) noexcept;

  /// Expects one value of any kind inside `level` containers. `*value` is its text without the
  /// white space around it.
  bool value(std::string_view* value, std::size_t level = 0) noexcept;

  /// Expects the end of the text, after optional white space.
  bool end() noexcept;

  const char* problem() const noexcept { return problem_; }
  /// The offset of the next byte, or of the wrong byte.
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
  bool scan_value(std::string_view* value, std::size_t level) noexcept;
  char next_token() noexcept;
  bool skip_name(char first) noexcept;
  bool skip_string() noexcept;
  bool skip_escape() noexcept;
  bool skip_number() noexcept;
  bool skip_literal(std::string_view word) noexcept;
  bool skip_digits() noexcept;

  const char* begin_;
  const char* at_;
  const char* end_;
  const char* problem_ = "";
};

/// Whether `text` is one JSON text with at most `max_levels` levels of arrays and objects, of which
/// kMaxJsonLevels is the highest value. Iterative.
bool is_json(std::string_view text, std::size_t max_levels = kMaxJsonLevels) noexcept;

/// Unescapes the contents of a string into `buffer`. Nothing if a character is not ASCII or the
/// buffer is too small: no name or id of the protocol is like that.
std::optional<std::string_view> unescape_ascii(std::string_view contents, char* buffer,
                                               std::size_t buffer_size) noexcept;

}  // namespace waystation
