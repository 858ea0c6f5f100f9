// Host and Origin: whether a browser's page may speak to us, and under which name.
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

  /// Reads `host`, `host:port`, `1.2.3.4`, `[::1]:8080`. Nothing for anything else.
  static std::optional<HostPort> parse(std::string_view text);

  /// A name or an address that always means this machine: localhost, *.localhost (RFC 6761,
  /// section 6.3), 127.0.0.0/8, ::1.
  bool is_loopback() const;

  friend bool operator==(const HostPort&, const HostPort&) = default;
};

/// A web origin (RFC 6454, section 6.2).
struct WebOrigin {
  std::string scheme;  // lower case
  HostPort host;       // with a port wherever the scheme has a default one

  /// Reads `scheme://host[:port]`. Nothing for anything else, `null` included.
  static std::optional<WebOrigin> parse(std::string_view text);

  friend bool operator==(const WebOrigin&, const WebOrigin&) = default;
};

/// The port that a scheme means where none is said: 80 for http, 443 for https.
std::optional<std::uint16_t> default_port(std::string_view scheme) noexcept;

/// Which hosts and origins are good. Immutable; any thread.
class HostRules {
 public:
  HostRules() = default;

  /// The errors name every entry that is wrong.
  static Result<HostRules, std::vector<Error>> parse(std::span<const std::string> allowed_hosts,
                                                     std::span<const std::string> allowed_origins);

  /// 403 bad_host where the request names no host, several, one that is none, or, in absolute form,
  /// another than its Host field (RFC 9112, section 3.2.2). With `open_mode` moreover where the
  /// host is not loopback; `open_network` then also allows IP addresses and `allowed_hosts`.
  Result<void, Refusal> check_host(const Request& request, bool open_mode, bool open_network) const;

  /// 403 bad_origin where there is an Origin that is neither the request's own host and port nor
  /// allowed, or more than one. Call check_host first.
  Result<void, Refusal> check_origin(const Request& request) const;

  /// The request's Origin as it stands if it is one of `allowed_origins`; else empty. It alone may
  /// get CORS headers.
  std::string_view allowed_origin(const Request& request) const;

 private:
  bool is_allowed(const WebOrigin& origin) const;

  std::vector<HostPort> hosts_;
  std::vector<WebOrigin> origins_;
};

}  // namespace waystation
