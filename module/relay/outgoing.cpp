#include "relay/outgoing.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace waystation {
namespace {

// Users, groups and ids need no escaping: none of their characters is special in JSON.
void append_quoted_or_null(TextBuffer& text, std::string_view plain) noexcept {
  if (plain.empty()) return text.append("null");
  text.append("\"");
  text.append(plain);
  text.append("\"");
}

void append_from_id_and_time(TextBuffer& text, const Message& message) noexcept {
  text.append(",\"from\":");
  append_quoted_or_null(text, message.from);
  text.append(",\"id\":");
  append_quoted_or_null(text, message.id);
  text.append(",\"at\":");
  text.append_number(static_cast<std::uint64_t>(message.at));
}

void append_escaped(std::string& text, std::string_view plain) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (const char c : plain) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (byte < 0x20) {
      text += "\\u00";
      text += digits[byte >> 4];
      text += digits[byte & 0xF];
    } else {
      text += c;
    }
  }
}

}  // namespace

void TextBuffer::append(std::string_view text) noexcept {
  const auto size = std::min(text.size(), bytes_.size() - size_);
  std::memcpy(bytes_.data() + size_, text.data(), size);
  size_ += size;
}

void TextBuffer::append_number(std::uint64_t number) noexcept {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.begin(), digits.end(), number).ptr;
  append({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

OutgoingText chat_text(Protocol protocol, const Message& message, TextBuffer& buffer) noexcept {
  constexpr std::string_view head = "{\"message\":";
  if (protocol == Protocol::plain) return {head, message.value, "}"};
  buffer.clear();
  append_from_id_and_time(buffer, message);
  buffer.append("}");
  return {head, message.value, buffer.view()};
}

OutgoingText push_text(Protocol protocol, const Message& message, TextBuffer& buffer) noexcept {
  buffer.clear();
  buffer.append(",\"group\":");
  append_quoted_or_null(buffer, message.group);
  if (protocol == Protocol::v1) append_from_id_and_time(buffer, message);
  buffer.append("}}");
  return {"{\"event\":{\"message\":", message.value, buffer.view()};
}

OutgoingText signal_text(std::string_view value, std::string_view from,
                         TextBuffer& buffer) noexcept {
  buffer.clear();
  buffer.append(",\"from\":");
  append_quoted_or_null(buffer, from);
  buffer.append("}");
  return {"{\"signal\":", value, buffer.view()};
}

OutgoingText ack_text(const Message& message, Decision decision, TextBuffer& buffer) noexcept {
  buffer.clear();
  buffer.append("{\"ack\":{\"id\":");
  append_quoted_or_null(buffer, message.id);
  buffer.append(",\"route\":\"");
  buffer.append(route_name(decision.route));
  buffer.append("\",\"reached\":");
  buffer.append_number(decision.reached);
  buffer.append(",\"at\":");
  buffer.append_number(static_cast<std::uint64_t>(message.at));
  buffer.append(decision.is_partial ? ",\"partial\":true}}" : "}}");
  return {buffer.view(), {}, {}};
}

OutgoingText presence_text(std::string_view user, bool present, std::optional<bool> reachable,
                           TextBuffer& buffer) noexcept {
  buffer.clear();
  buffer.append("{\"presence\":{\"user\":\"");
  buffer.append(user);
  buffer.append(present ? "\",\"present\":true" : "\",\"present\":false");
  if (reachable) buffer.append(*reachable ? ",\"reachable\":true" : ",\"reachable\":false");
  buffer.append("}}");
  return {buffer.view(), {}, {}};
}

OutgoingText pong_text(std::string_view value) noexcept {
  return {"{\"pong\":", value, "}"};
}

std::string error_text(ErrorCode code, std::string_view detail, std::string_view id) {
  std::string text = "{\"error\":{\"code\":\"";
  text += error_code_name(code);
  text += "\",\"detail\":\"";
  append_escaped(text, detail);
  text += '"';
  if (!id.empty()) {
    text += ",\"id\":\"";
    text += id;
    text += '"';
  }
  text += "}}";
  return text;
}

}  // namespace waystation
