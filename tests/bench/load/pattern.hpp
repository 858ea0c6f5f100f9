// The texts that are sent and expected: the same for every message but for two numbers.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace waystation::load {

/// A text with places for a message's number ('#') and its pair ('@').
class Pattern {
 public:
  explicit Pattern(std::string_view format);

  /// The text with both filled in; the view lives until the next call.
  std::string_view fill(std::uint64_t number, std::uint32_t pair);

  /// Where the places are, for those that only rewrite them.
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

/// What a server may answer: patterns that differ in how their JSON is spaced, until the first
/// answer shows which it is.
class ReplyPattern {
 public:
  explicit ReplyPattern(std::vector<Pattern> patterns) : patterns_(std::move(patterns)) {}

  bool matches(std::string_view text, std::uint64_t number, std::uint32_t pair);

  /// The message's number in `text`, if that is such an answer.
  std::optional<std::uint64_t> number_in(std::string_view text) const noexcept;

 private:
  std::vector<Pattern> patterns_;
};

/// Writes `value` in `digits` digits, zeros first.
void write_digits(char* to, std::uint64_t value, std::size_t digits) noexcept;

/// A client's text frame around a pattern, masked once and for all; only the numbers' digits are
/// masked anew for each message, so that the generator is no slower with long messages.
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

/// A whole client frame around `payload` (at most 125 bytes), masked.
std::string client_frame(unsigned opcode, std::string_view payload);

}  // namespace waystation::load
