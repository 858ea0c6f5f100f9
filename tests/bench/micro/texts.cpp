#include "micro/texts.hpp"

#include <string_view>

#include "websocket/frame_writer.hpp"

namespace waystation::bench {
namespace {

std::string envelope(const std::string& value) {
  return "{\"message\":" + value + ",\"to_user\":\"bob\"}";
}

std::string filled(std::string_view filler, std::size_t bytes) {
  std::string value = "\"";
  while (value.size() + filler.size() < bytes) value += filler;
  return envelope(value + '"');
}

}  // namespace

std::string words(std::size_t bytes) {
  return filled("word for word, ", bytes);
}

std::string chinese(std::size_t bytes) {
  return filled("一字不差地", bytes);
}

std::string records(std::size_t bytes) {
  std::string value = "[";
  for (int i = 0; value.size() < bytes; ++i) {
    if (i != 0) value += ", ";
    value += R"({"id": )" + std::to_string(i * 7919) +
             R"(, "name": "a \"quoted\" name", "at": [12.5, -3e4], "seen": true})";
  }
  return envelope(value + ']');
}

std::string client_frame(const std::string& text) {
  const std::string mask = "\x37\xfa\x21\x3d";
  std::string frame(FrameHeader(Opcode::text, text.size()).view());
  frame[1] = static_cast<char>(frame[1] | '\x80');
  frame += mask;
  for (std::size_t i = 0; i < text.size(); ++i) {
    frame += static_cast<char>(text[i] ^ mask[i % 4]);
  }
  return frame;
}

}  // namespace waystation::bench
