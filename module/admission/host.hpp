// Checks of the Host and Origin header fields.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "base/result.hpp"

namespace waystation {

/// A host with or without a port (RFC 3986, section 3.2, without user information).
struct HostPort {
  std::string host;  // lower case; an IP address in its canonical form, without brackets
  bool is_address = false;
  std::optional<std::uint16_t> port;

  /// Parses `host`, `host:port`, `1.2.3.4`, `[::1]:8080`. Nothing for anything else.
  static std::optional<HostPort> parse(std::string_view text);

  /// Whether it always means this machine: localhost, *.localhost (RFC 6761,
  /// section 6.3), 127.0.0.0/8, ::1.
  bool is_loopback() const;

  friend bool operator==(const HostPort&, const HostPort&) = default;
};

/// A web origin (RFC 6454, section 6.2).
struct WebOrigin {
  std::string scheme;  // lower case
  HostPort host;       // with the default port of the scheme if the text has none

  /// Parses `scheme://host[:port]`. Nothing for anything else, including `null`.
  static std::optional<WebOrigin> parse(std::string_view text);

  friend bool operator==(const WebOrigin&, const WebOrigin&) = default;
};

/// The default port of a scheme: 80 for http, 443 for https.
std::optional<std::uint16_t> default_port(std::string_view scheme) noexcept;

/// The allowed hosts and origins. Immutable; any thread.
class HostRules {
 public:
  HostRules() = default;

  /// The errors name every wrong entry.
  static Result<HostRules, std::vector<Error>> parse(std::span<const std::string> allowed_hosts,
                                                     std::span<const std::string> allowed_origins);

  /// Refused with 403 bad_host if Host is missing, repeated or malformed, or differs from the host
  /// of an absolute-form target (RFC 9112, section 3.2.2). `open_mode` also refuses hosts that are
  /// not loopback, but with `open_network` it allows IP addresses and `allowed_hosts`.
  Result<void, Refusal> check_host(const Request& request, bool open_mode, bool open_network) const;

  /// Refused with 403 bad_origin if Origin is repeated, or is neither the request's own host and
  /// port nor one of `allowed_origins`. Over TLS, the own origin's scheme is https. Call check_host
  /// first.
  Result<void, Refusal> check_origin(const Request& request) const;

  /// The request's Origin, unchanged, if it is one of `allowed_origins`; otherwise empty. Only such
  /// an origin gets CORS header fields.
  std::string_view allowed_origin(const Request& request) const;

 private:
  bool is_allowed(const WebOrigin& origin) const;

  std::vector<HostPort> hosts_;
  std::vector<WebOrigin> origins_;
};

}  // namespace waystation
