// Addresses to listen on, as an administrator writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace waystation::server {

/// A numeric address and a port to listen on.
struct ListenAddress {
  std::string address;     // "127.0.0.1", or "::1" without its brackets
  std::uint16_t port = 0;  // 0: any free one
  bool is_v6 = false;

  bool is_loopback() const;
  /// As in a URL: "127.0.0.1:8080", "[::1]:8080".
  std::string text() const;
  bool operator==(const ListenAddress&) const = default;
};

/// Reads "127.0.0.1:8080" or "[::1]:8080". Names are not looked up, and the port must be there.
std::optional<ListenAddress> parse_listen_address(std::string_view text);

/// Which part of it is wrong, in words that follow "TEXT: "; empty where nothing is.
std::string listen_address_objection(std::string_view text);

}  // namespace waystation::server
