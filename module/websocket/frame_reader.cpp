#include "websocket/frame_reader.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/utf8_vector.hpp"

namespace waystation {
namespace {

constexpr std::uint8_t kFin = 0x80;
constexpr std::uint8_t kReserved = 0x70;
constexpr std::uint8_t kMasked = 0x80;
constexpr std::uint8_t kLength16 = 126;
constexpr std::uint8_t kLength64 = 127;
constexpr std::size_t kMaxControlBytes = 125;  // section 5.5
// For shorter texts, the call of unmask_blocks() costs more than it saves.
constexpr std::size_t kLongText = 2 * kUtf8BlockBytes;

/// The repeated mask from `bytes` later on.
std::uint64_t shifted(std::uint64_t mask, int bytes) noexcept {
  return std::endian::native == std::endian::little ? std::rotr(mask, 8 * bytes)
                                                    : std::rotl(mask, 8 * bytes);
}

/// Eight bytes of the repeated mask, from `phase` on (section 5.3).
std::uint64_t repeated(std::span<const unsigned char, 4> mask, std::uint8_t phase) noexcept {
  std::uint32_t once = 0;
  std::memcpy(&once, mask.data(), sizeof once);
  return shifted(std::uint64_t{once} << 32 | once, phase);
}

/// XORs a `T` at `at`, and moves `at` behind it.
template <typename T>
void unmask_one(char*& at, std::uint64_t mask) noexcept {
  T bytes;
  T masks;
  std::memcpy(&bytes, at, sizeof bytes);
  std::memcpy(&masks, &mask, sizeof masks);
  bytes = static_cast<T>(bytes ^ masks);
  std::memcpy(at, &bytes, sizeof bytes);
  at += sizeof bytes;
}

/// XORs `bytes` with the repeated mask.
void unmask(std::span<char> bytes, std::uint64_t mask) noexcept {
  char* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 16; left -= 16) {
    unmask_one<std::uint64_t>(at, mask);
    unmask_one<std::uint64_t>(at, mask);
  }
  if ((left & 8) != 0) unmask_one<std::uint64_t>(at, mask);
  if ((left & 4) != 0) unmask_one<std::uint32_t>(at, mask);
  if ((left & 2) != 0) {
    unmask_one<std::uint16_t>(at, mask);
    mask = shifted(mask, 2);
  }
  if ((left & 1) != 0) unmask_one<std::uint8_t>(at, mask);
}

std::uint64_t big_endian(std::span<const unsigned char> bytes) noexcept {
  std::uint64_t value = 0;
  for (const auto byte : bytes) value = value << 8 | byte;
  return value;
}

bool is_defined(Opcode opcode) noexcept {
  switch (opcode) {
    case Opcode::continuation:
    case Opcode::text:
    case Opcode::binary:
    case Opcode::close:
    case Opcode::ping:
    case Opcode::pong:
      return true;
  }
  return false;
}

}  // namespace

std::optional<CloseCode> FrameReader::feed(std::span<char>& bytes, FrameHandler& handler,
                                           std::size_t max_frames) {
  for (; max_frames != 0; --max_frames) {
    Step step = Step::go_on;
    if (!in_frame_) {
      if (bytes.empty()) return std::nullopt;
      step = read_header(bytes);
    }
    // Also runs with no bytes left, since a frame without payload is complete after its header.
    if (step == Step::go_on) step = read_payload(bytes, handler);
    if (step == Step::stop || step == Step::need_more) return std::nullopt;
    if (step != Step::go_on) return static_cast<CloseCode>(step);
  }
  return std::nullopt;
}

std::size_t FrameReader::header_bytes_needed() const noexcept {
  if (header_size_ < 2) return 2;
  const auto length = header_[1] & 0x7F;
  const std::size_t extended = length == kLength64 ? 8 : length == kLength16 ? 2 : 0;
  return 2 + extended + 4;
}

FrameReader::Step FrameReader::read_header(std::span<char>& bytes) {
  // Two rounds: the first two bytes determine the length of the header and may be invalid.
  for (;;) {
    const auto needed = header_bytes_needed();
    const auto taken = std::min(needed - header_size_, bytes.size());
    std::memcpy(header_.data() + header_size_, bytes.data(), taken);
    header_size_ = static_cast<std::uint8_t>(header_size_ + taken);
    bytes = bytes.subspan(taken);
    if (header_size_ < needed) return Step::need_more;
    if (needed == 2) {
      if (const auto step = check_start(); step != Step::go_on) return step;
      continue;
    }
    break;
  }
  if (const auto step = check_length(); step != Step::go_on) return step;
  std::memmove(mask().data(), header_.data() + header_size_ - 4, 4);
  mask_phase_ = 0;
  header_size_ = 0;
  in_frame_ = true;
  return Step::go_on;
}

FrameReader::Step FrameReader::check_start() {
  fin_ = (header_[0] & kFin) != 0;
  opcode_ = static_cast<Opcode>(header_[0] & 0x0F);
  if ((header_[0] & kReserved) != 0) return fail(CloseCode::protocol_error);  // 5.2, RSV1-3
  if (!is_defined(opcode_)) return fail(CloseCode::protocol_error);           // 5.2, opcode
  if ((header_[1] & kMasked) == 0) return fail(CloseCode::protocol_error);    // 5.1
  if (is_control(opcode_)) {
    if (!fin_ || (header_[1] & 0x7F) > kMaxControlBytes) {
      return fail(CloseCode::protocol_error);  // 5.5
    }
    return Step::go_on;
  }
  const bool continues = opcode_ == Opcode::continuation;
  if (continues != in_message_) return fail(CloseCode::protocol_error);  // 5.4
  if (opcode_ == Opcode::binary && !limits_->accept_binary) {
    return fail(CloseCode::unsupported_data);  // 7.4.1
  }
  return Step::go_on;
}

FrameReader::Step FrameReader::check_length() {
  auto length = static_cast<std::uint64_t>(header_[1] & 0x7F);
  if (length == kLength16) {
    length = big_endian(std::span(header_).subspan(2, 2));
    if (length < kLength16) return fail(CloseCode::protocol_error);  // 5.2, minimal
  } else if (length == kLength64) {
    length = big_endian(std::span(header_).subspan(2, 8));
    if (length <= 0xFFFF || length >> 63 != 0) {
      return fail(CloseCode::protocol_error);  // 5.2, minimal; the most significant bit is 0
    }
  }
  if (!is_control(opcode_)) {
    const auto arrived = parts_ ? parts_->message.size() : 0;
    if (length > limits_->max_message_bytes - std::min(arrived, limits_->max_message_bytes)) {
      return fail(CloseCode::message_too_big);  // 7.4.1
    }
    if (opcode_ != Opcode::continuation) {
      message_opcode_ = opcode_;
      in_message_ = true;
      utf8_.reset();
    }
  }
  remaining_ = length;
  return Step::go_on;
}

FrameReader::Step FrameReader::read_payload(std::span<char>& bytes, FrameHandler& handler) {
  const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size()));
  const auto piece = bytes.first(taken);
  bytes = bytes.subspan(taken);
  const bool is_text = !is_control(opcode_) && message_opcode_ == Opcode::text;
  const auto masks = repeated(mask(), mask_phase_);
  // The blocks of a long text in one pass.
  UnmaskedBlocks blocks;
  if (is_text && taken >= kLongText && utf8_.at_boundary()) blocks = unmask_blocks(piece, masks);
  unmask(piece.subspan(blocks.unmasked), masks);
  mask_phase_ = static_cast<std::uint8_t>((mask_phase_ + taken) % 4);
  remaining_ -= taken;
  const bool complete = remaining_ == 0;
  const std::string_view text(piece.data(), piece.size());

  if (is_control(opcode_)) {
    if (!complete) {
      keep(&Parts::control, text);
      return Step::need_more;
    }
    in_frame_ = false;
    if (!has(&Parts::control)) return finish_control(text, handler);
    return finish_control(take(&Parts::control, text), handler);
  }

  if (is_text && !utf8_.feed(text.substr(blocks.valid))) {
    return fail(CloseCode::invalid_payload);  // 8.1
  }
  if (complete) in_frame_ = false;
  if (complete && fin_) {
    if (!has(&Parts::message)) return finish_message(text, handler);
    return finish_message(take(&Parts::message, text), handler);
  }
  keep(&Parts::message, text);
  return complete ? Step::go_on : Step::need_more;
}

void FrameReader::keep(std::string Parts::*part, std::string_view bytes) {
  if (bytes.empty()) return;
  if (!parts_) parts_ = std::make_unique<Parts>();
  (*parts_).*part += bytes;
}

/// The part with its `last` bytes. Nothing of it is kept.
std::string FrameReader::take(std::string Parts::*part, std::string_view last) {
  auto whole = std::move((*parts_).*part);
  (*parts_).*part = {};
  if (parts_->message.empty() && parts_->control.empty()) parts_.reset();
  whole += last;
  return whole;
}

FrameReader::Step FrameReader::finish_message(std::string_view payload, FrameHandler& handler) {
  in_message_ = false;
  if (message_opcode_ == Opcode::text && !utf8_.at_boundary()) {
    return fail(CloseCode::invalid_payload);  // 8.1
  }
  return handler.on_message(message_opcode_, payload) ? Step::go_on : Step::stop;
}

FrameReader::Step FrameReader::finish_control(std::string_view payload, FrameHandler& handler) {
  switch (opcode_) {
    case Opcode::ping:
      return handler.on_ping(payload) ? Step::go_on : Step::stop;
    case Opcode::pong:
      return handler.on_pong(payload) ? Step::go_on : Step::stop;
    default:
      return finish_close(payload, handler);
  }
}

FrameReader::Step FrameReader::finish_close(std::string_view payload, FrameHandler& handler) {
  if (payload.empty()) {
    handler.on_close(CloseCode::no_status, {});
    return Step::stop;
  }
  if (payload.size() == 1) return fail(CloseCode::protocol_error);  // 5.5.1: a code is two bytes
  const auto code = static_cast<std::uint16_t>(static_cast<unsigned char>(payload[0]) << 8 |
                                               static_cast<unsigned char>(payload[1]));
  const auto reason = payload.substr(2);
  if (!may_be_sent(code)) return fail(CloseCode::protocol_error);  // 7.4
  if (!is_utf8(reason)) return fail(CloseCode::invalid_payload);   // 5.5.1
  handler.on_close(static_cast<CloseCode>(code), reason);
  return Step::stop;
}

}  // namespace waystation
