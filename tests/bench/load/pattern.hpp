// Texts to send and to expect: equal for all messages except for two numbers.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace waystation::load {

/// A text with placeholders for a message's number ('#') and its pair ('@').
class Pattern {
 public:
  explicit Pattern(std::string_view format);

  /// The text with both numbers; the view is valid until the next call.
  std::string_view fill(std::uint64_t number, std::uint32_t pair);

  /// The placeholders' positions, to rewrite only the numbers.
  const std::vector<std::size_t>& number_places() const noexcept { return numbers_; }
  const std::vector<std::size_t>& pair_places() const noexcept { return pairs_; }
  std::size_t size() const noexcept { return text_.size(); }

  static constexpr std::size_t kNumberDigits = 12;
  static constexpr std::size_t kPairDigits = 6;

 private:
  std::string text_;
  std::vector<std::size_t> numbers_;
  std::vector<std::size_t> pairs_;
};

/// The possible replies of a server: patterns with different JSON white space, until the first
/// reply selects one.
class ReplyPattern {
 public:
  explicit ReplyPattern(std::vector<Pattern> patterns) : patterns_(std::move(patterns)) {}

  bool matches(std::string_view text, std::uint64_t number, std::uint32_t pair);

  /// The message's number in `text`; empty if `text` is another reply.
  std::optional<std::uint64_t> number_in(std::string_view text) const noexcept;

 private:
  std::vector<Pattern> patterns_;
};

/// Writes `value` with `digits` digits and leading zeros.
void write_digits(char* to, std::uint64_t value, std::size_t digits) noexcept;

/// A client's text frame around a pattern. The frame is masked once, and each message masks only
/// its digits again. The generator so needs no more time for long messages.
class FramePattern {
 public:
  explicit FramePattern(std::string_view format);

  void append_to(std::string& out, std::uint64_t number, std::uint32_t pair) const;

 private:
  void patch(char* frame, std::size_t place, std::uint64_t value, std::size_t digits) const;

  std::array<char, 4> mask_;
  std::string frame_;
  std::size_t payload_at_ = 0;
  std::vector<std::size_t> numbers_;
  std::vector<std::size_t> pairs_;
};

/// A whole masked client frame around `payload` (at most 125 bytes).
std::string client_frame(unsigned opcode, std::string_view payload);

}  // namespace waystation::load
