// Builds the messages of an asker, also malformed ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace waystation::test {

/// A number in network byte order.
inline std::string number(std::uint64_t value, unsigned size) {
  std::string bytes;
  for (unsigned i = size; i-- > 0;) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  return bytes;
}

/// An ASK. Lengths and flags are right unless a test sets them.
struct AskMessage {
  std::uint64_t version = 1, kind = 1, major = 1, minor = 1;
  std::uint64_t flags = 0;
  std::string key = {}, address = "192.0.2.7", method = "GET", target = "/push/bob/";
  std::string user = {}, scopes = {};
  std::vector<std::pair<std::string, std::string>> fields = {{"Host", "chat.example"}};
  std::optional<std::uint64_t> field_count = {}, target_size = {};
  std::string rest = {};  // after the last field

  std::string bytes() const {
    auto out = number(version, 1) + number(kind, 1) + number(flags | (user.empty() ? 0U : 2U), 2) +
               number(major, 1) + number(minor, 1) + number(50'000, 2) + number(8080, 2);
    for (const auto* text : {&key, &address, &method}) out += number(text->size(), 2);
    out += number(target_size.value_or(target.size()), 2);
    for (const auto* text : {&user, &scopes}) out += number(text->size(), 2);
    out += number(field_count.value_or(fields.size()), 2);
    for (const auto* text : {&key, &address, &method, &target, &user, &scopes}) out += *text;
    for (const auto& [name, value] : fields) {
      out += number(name.size(), 2) + number(value.size(), 2) + name + value;
    }
    return out + rest;
  }
};

/// A HERE.
inline std::string here_message(std::string_view early = {}, std::uint64_t flags = 0) {
  return number(1, 1) + number(4, 1) + number(flags, 2) + number(early.size(), 4) +
         std::string(early);
}

}  // namespace waystation::test
