// The texts that the relay sends, put together around a value that is not touched.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "relay/envelope.hpp"
#include "relay/names.hpp"

namespace waystation {

/// A text in three parts, sent one after the other: only the middle one is a client's. The views
/// live as long as the call that the text goes to.
struct OutgoingText {
  std::string_view head;
  std::string_view value;
  std::string_view tail;

  std::size_t size() const noexcept { return head.size() + value.size() + tail.size(); }
};

/// Where the texts below put what they have to write anew, so that none of them asks for memory.
/// It holds one text at a time.
class TextBuffer {
 public:
  std::string_view view() const noexcept { return {bytes_.data(), size_}; }
  void clear() noexcept { size_ = 0; }
  void append(std::string_view text) noexcept;
  void append_number(std::uint64_t number) noexcept;

 private:
  // The most there is to say: a group, a user and an id of the greatest length, a time, and what
  // stands between them.
  static constexpr std::size_t kMaxBytes = 3 * kMaxUserBytes + ShortText::kMaxBytes + 128;

  std::array<char, kMaxBytes> bytes_;
  std::size_t size_ = 0;
};

/// A message on its way, for those who tell of it. All views live as long as the call they go to.
struct Message {
  std::string_view value;
  std::string_view group;  // empty: the appliance's own notification
  std::string_view from;   // empty likewise
  std::string_view to;
  std::string_view id;  // empty: none was given
  std::int64_t at = 0;  // ms since 1970
};

/// How a message travelled.
enum class Route : std::uint8_t { none, chat, push };
std::string_view route_name(Route route) noexcept;

// The frames of both protocols, by what they say.
OutgoingText chat_text(Protocol protocol, const Message& message, TextBuffer& buffer) noexcept;
OutgoingText push_text(Protocol protocol, const Message& message, TextBuffer& buffer) noexcept;
OutgoingText signal_text(std::string_view value, std::string_view from,
                         TextBuffer& buffer) noexcept;
OutgoingText ack_text(const Message& message, Route route, std::size_t reached,
                      TextBuffer& buffer) noexcept;
OutgoingText presence_text(std::string_view user, bool present, TextBuffer& buffer) noexcept;
OutgoingText pong_text(std::string_view value) noexcept;
std::string error_text(ErrorCode code, std::string_view detail, std::string_view id);

}  // namespace waystation
