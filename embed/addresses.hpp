// Addresses as an operator writes them: listeners and CIDR blocks.
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

/// Whether `text` is an address or a CIDR block, such as "192.0.2.7", "10.0.0.0/8" or "fd00::/8".
bool is_address_or_block(std::string_view text);

/// Whether the block holds every IPv4 or every IPv6 address. False for what is no block.
bool is_everybody(std::string_view block);

}  // namespace waystation::server
