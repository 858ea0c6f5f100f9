// Listen addresses in options: parsing, formatting and error texts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace waystation::server {

/// A numeric address and a port to listen on, with or without TLS.
struct ListenAddress {
  std::string address;     // "127.0.0.1", or "::1" without its brackets
  std::uint16_t port = 0;  // 0: any free port
  bool is_v6 = false;
  bool is_tls = false;

  bool is_loopback() const;
  /// Without the scheme: "127.0.0.1:8080", "[::1]:8080".
  std::string text() const;
  /// "http://127.0.0.1:8080" or "https://[::1]:8443".
  std::string url() const;
  bool operator==(const ListenAddress&) const = default;
};

/// Reads "127.0.0.1:8080" or "[::1]:8080", which may follow "http://" or "https://". The port is
/// required. Host names are not resolved.
std::optional<ListenAddress> parse_listen_address(std::string_view text);

/// What is wrong with `text`, to be written after "TEXT: ". Empty if it is valid.
std::string listen_address_problem(std::string_view text);

}  // namespace waystation::server
