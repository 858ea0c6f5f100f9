#include "websocket/handshake.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <new>

#include "base/ascii.hpp"

namespace waystation {
namespace {

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // section 1.3

constexpr bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t';
}

constexpr bool is_base64(char c) noexcept {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
         c == '/';
}

}  // namespace

bool is_valid_key(std::string_view key) noexcept {
  // 16 bytes are 22 base64 digits and two padding characters. The last digit has only two bits.
  return key.size() == 24 && key.ends_with("==") &&
         std::ranges::all_of(key.substr(0, 22), is_base64) &&
         std::string_view("AQgw").find(key[21]) != std::string_view::npos;
}

std::string accept_key(std::string_view key) {
  std::string text(key);
  text += kGuid;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha1(), nullptr) != 1) {
    throw std::bad_alloc();
  }
  std::array<unsigned char, 2 * EVP_MAX_MD_SIZE> encoded{};
  const int size = EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(length));
  return {encoded.begin(), encoded.begin() + size};
}

std::string switching_protocols(std::string_view key, std::string_view subprotocol) {
  std::string response =
      "HTTP/1.1 101 Switching Protocols\r\n"
      "Upgrade: websocket\r\n"
      "Connection: Upgrade\r\n"
      "Sec-WebSocket-Accept: ";
  response += accept_key(key);
  if (!subprotocol.empty()) {
    response += "\r\nSec-WebSocket-Protocol: ";
    response += subprotocol;
  }
  response += "\r\n\r\n";
  return response;
}

std::string_view next_list_element(std::string_view& list) noexcept {
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    auto element = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (!element.empty() && is_blank(element.front())) element.remove_prefix(1);
    while (!element.empty() && is_blank(element.back())) element.remove_suffix(1);
    if (!element.empty()) return element;
  }
  return {};
}

bool has_token(std::string_view list, std::string_view token) noexcept {
  for (auto element = next_list_element(list); !element.empty();
       element = next_list_element(list)) {
    if (equal_ignoring_case(element, token)) return true;
  }
  return false;
}

}  // namespace waystation
