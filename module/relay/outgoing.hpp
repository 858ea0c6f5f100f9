// The texts that the relay sends, written around a value that is not copied.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "relay/message.hpp"
#include "relay/names.hpp"

namespace waystation {

/// A text in three parts, sent one after the other. Only `value` comes from a client. The views are
/// valid for the duration of the call that gets the text.
struct OutgoingText {
  std::string_view head;
  std::string_view value;
  std::string_view tail;

  std::size_t size() const noexcept { return head.size() + value.size() + tail.size(); }
};

/// Memory for the parts that the functions below write, so that none of them allocates. It holds
/// one text at a time.
class TextBuffer {
 public:
  std::string_view view() const noexcept { return {bytes_.data(), size_}; }
  void clear() noexcept { size_ = 0; }
  void append(std::string_view text) noexcept;
  void append_number(std::uint64_t number) noexcept;

 private:
  // The longest text: a group, a user and an id of the greatest length, a time, and the JSON around
  // them.
  static constexpr std::size_t kMaxBytes = 3 * kMaxUserBytes + ShortText::kMaxBytes + 128;

  std::array<char, kMaxBytes> bytes_;
  std::size_t size_ = 0;
};

// The frames of both protocols, by their meaning.
OutgoingText chat_text(Protocol protocol, const Message& message, TextBuffer& buffer) noexcept;
OutgoingText push_text(Protocol protocol, const Message& message, TextBuffer& buffer) noexcept;
OutgoingText signal_text(std::string_view value, std::string_view from,
                         TextBuffer& buffer) noexcept;
OutgoingText ack_text(const Message& message, Decision decision, TextBuffer& buffer) noexcept;
/// Without `reachable`, the frame has no such member.
OutgoingText presence_text(std::string_view user, bool present, std::optional<bool> reachable,
                           TextBuffer& buffer) noexcept;
OutgoingText pong_text(std::string_view value) noexcept;
std::string error_text(ErrorCode code, std::string_view detail, std::string_view id);

/// A message's text in each protocol, written when the first socket needs it.
class MessageTexts {
 public:
  /// chat_text or push_text.
  using Writer = OutgoingText(Protocol, const Message&, TextBuffer&) noexcept;

  /// `message` must outlive this object.
  MessageTexts(Writer& write, const Message& message) noexcept : write_(write), message_(message) {}

  const Message& message() const noexcept { return message_; }

  const OutgoingText& in(Protocol protocol) noexcept {
    auto& one = texts_[static_cast<std::size_t>(protocol)];
    if (one.text.head.empty()) one.text = write_(protocol, message_, one.buffer);
    return one.text;
  }

 private:
  struct One {
    OutgoingText text;  // its head is empty until it is written
    TextBuffer buffer;
  };

  Writer& write_;
  const Message& message_;
  std::array<One, 2> texts_;
};

}  // namespace waystation
