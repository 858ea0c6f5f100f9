// The server's side of the opening handshake (RFC 6455, section 4.2).
#pragma once

#include <string>
#include <string_view>

namespace waystation {

/// Whether `key` can be a Sec-WebSocket-Key: 16 bytes in base64 (section 4.1, item 7).
bool is_valid_key(std::string_view key) noexcept;

/// The Sec-WebSocket-Accept for a key (section 4.2.2, item 5.4). Throws std::bad_alloc, also where
/// OpenSSL has no SHA-1.
std::string accept_key(std::string_view key);

/// The 101 response. An empty `subprotocol` is omitted. Throws as accept_key().
std::string switching_protocols(std::string_view key, std::string_view subprotocol);

/// Removes the first element from a comma-separated list (RFC 9110, section 5.6.1) and returns it
/// without the blanks around it. Skips empty elements. Empty at the end of the list.
std::string_view next_list_element(std::string_view& list) noexcept;

/// Calls `f(std::string_view)` for each element of a comma-separated list.
template <typename F>
void for_each_token(std::string_view list, F&& f) {
  for (auto element = next_list_element(list); !element.empty();
       element = next_list_element(list)) {
    f(element);
  }
}

/// Whether a comma-separated list contains `token`, without regard to case.
bool has_token(std::string_view list, std::string_view token) noexcept;

}  // namespace waystation
