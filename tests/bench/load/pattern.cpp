#include "pattern.hpp"

#include <random>

namespace waystation::load {
namespace {

std::array<char, 4> random_mask() {
  std::random_device random;
  std::array<char, 4> mask{};
  for (auto& byte : mask) byte = static_cast<char>(random() & 0xFF);
  return mask;
}

/// A frame's header up to the mask (RFC 6455, section 5.2).
std::string header(unsigned opcode, std::size_t size, const std::array<char, 4>& mask) {
  std::string bytes{static_cast<char>(0x80U | opcode)};
  int extended = 0;
  if (size < 126) {
    bytes += static_cast<char>(0x80U | size);
  } else {
    extended = size <= 0xFFFF ? 2 : 8;
    bytes += static_cast<char>(extended == 2 ? 0xFE : 0xFF);
  }
  for (int i = extended - 1; i >= 0; --i) bytes += static_cast<char>(size >> 8 * i & 0xFF);
  bytes.append(mask.data(), mask.size());
  return bytes;
}

}  // namespace

void write_digits(char* to, std::uint64_t value, std::size_t digits) noexcept {
  for (std::size_t i = digits; i-- > 0; value /= 10) to[i] = static_cast<char>('0' + value % 10);
}

Pattern::Pattern(std::string_view format) {
  for (const char c : format) {
    if (c == '#') {
      numbers_.push_back(text_.size());
      text_.append(kNumberDigits, '0');
    } else if (c == '@') {
      pairs_.push_back(text_.size());
      text_.append(kPairDigits, '0');
    } else {
      text_ += c;
    }
  }
}

std::string_view Pattern::fill(std::uint64_t number, std::uint32_t pair) {
  for (const auto place : numbers_) write_digits(text_.data() + place, number, kNumberDigits);
  for (const auto place : pairs_) write_digits(text_.data() + place, pair, kPairDigits);
  return text_;
}

bool ReplyPattern::matches(std::string_view text, std::uint64_t number, std::uint32_t pair) {
  if (patterns_.size() > 1) {
    std::erase_if(patterns_, [&](Pattern& reply) { return reply.fill(number, pair) != text; });
    return !patterns_.empty();
  }
  return !patterns_.empty() && patterns_.front().fill(number, pair) == text;
}

std::optional<std::uint64_t> ReplyPattern::number_in(std::string_view text) const noexcept {
  for (const auto& pattern : patterns_) {
    if (pattern.size() != text.size()) continue;
    std::uint64_t number = 0;
    for (const char c : text.substr(pattern.number_places().front(), Pattern::kNumberDigits)) {
      if (c < '0' || c > '9') return std::nullopt;
      number = 10 * number + static_cast<std::uint64_t>(c - '0');
    }
    return number;
  }
  return std::nullopt;
}

FramePattern::FramePattern(std::string_view format) : mask_(random_mask()) {
  Pattern pattern(format);
  numbers_ = pattern.number_places();
  pairs_ = pattern.pair_places();
  frame_ = header(0x1, pattern.size(), mask_);
  payload_at_ = frame_.size();
  frame_ += pattern.fill(0, 0);
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    frame_[payload_at_ + i] = static_cast<char>(frame_[payload_at_ + i] ^ mask_[i % 4]);
  }
}

void FramePattern::patch(char* frame, std::size_t place, std::uint64_t value,
                         std::size_t digits) const {
  std::array<char, Pattern::kNumberDigits> text{};
  write_digits(text.data(), value, digits);
  for (std::size_t i = 0; i < digits; ++i) {
    frame[payload_at_ + place + i] = static_cast<char>(text[i] ^ mask_[(place + i) % 4]);
  }
}

void FramePattern::append_to(std::string& out, std::uint64_t number, std::uint32_t pair) const {
  const auto at = out.size();
  out += frame_;
  for (const auto place : numbers_) patch(out.data() + at, place, number, Pattern::kNumberDigits);
  for (const auto place : pairs_) patch(out.data() + at, place, pair, Pattern::kPairDigits);
}

std::string client_frame(unsigned opcode, std::string_view payload) {
  static const auto mask = random_mask();
  auto frame = header(opcode, payload.size(), mask);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    frame += static_cast<char>(payload[i] ^ mask[i % 4]);
  }
  return frame;
}

}  // namespace waystation::load
