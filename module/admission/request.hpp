// An HTTP request as a web server read it, and strict ways to look into it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace waystation {

struct HeaderField {
  std::string_view name;
  std::string_view value;
};

/// Where the bytes of a body come from that was not read yet.
struct BodySource {
  /// Puts the next bytes into `buffer`, at least one and at most `size`, and returns how many; 0
  /// where none came for too long, negative where the body broke off. Never asked for more than the
  /// request's Content-Length.
  int (*read)(void* data, char* buffer, std::size_t size) = nullptr;
  void* data = nullptr;
};

/// One request. Everything in it is a view of what the caller keeps alive; nothing was decoded.
struct Request {
  std::string_view method;               // "GET"
  std::string_view target;               // as on the request line, with or without its query
  std::string_view query;                // what follows the '?', where `target` has none
  std::string_view version;              // "1.1"
  std::span<const HeaderField> headers;  // in order, repeated ones repeated
  std::string_view remote_address;       // the peer's, as text
  std::uint16_t remote_port = 0;
  std::uint16_t local_port = 0;
  bool is_tls = false;           // the web server itself speaks TLS on this connection
  const void* origin = nullptr;  // whatever the host's `identify` wants to see again
  std::string_view body;
  bool body_truncated = false;  // the client sent more than `body`
  BodySource body_source;       // where it is still to be read; `body` is empty then
};

/// A request target in its parts (RFC 9112, section 3.2). Views into the request.
struct Target {
  std::string_view authority;  // of an absolute-form target; empty otherwise
  std::string_view path;       // begins with '/', not decoded
  std::string_view query;      // without the '?', not decoded
  bool is_absolute = false;    // http://host/path
};

/// Whether the client speaks an HTTP of before 1.1. Nobody's own client does; proxies do that were
/// set up no further, nginx among them.
bool is_before_http_1_1(const Request& request) noexcept;

/// Splits the target in origin form or, with http or https, in absolute form. Nothing for any
/// other (`*`, an authority, an empty one, one with a fragment).
std::optional<Target> split_target(const Request& request) noexcept;

/// What a request says once, several times, or not at all.
struct OneValue {
  enum class Found : std::uint8_t { none, one, several };
  Found found = Found::none;
  std::string_view value;  // where `one`; stripped of blanks

  bool is_one() const noexcept { return found == Found::one; }
  bool is_none() const noexcept { return found == Found::none; }
};

/// The value of the only header field of that name, in any mixture of cases.
OneValue header_value(const Request& request, std::string_view name) noexcept;

/// A parameter of a query string.
struct Parameter {
  enum class Found : std::uint8_t { none, one, several, malformed };
  Found found = Found::none;
  std::string value;  // where `one`; decoded

  bool is_one() const noexcept { return found == Found::one; }
  bool is_none() const noexcept { return found == Found::none; }
};

/// Looks for a parameter by its exact name, after decoding (%xx; '+' is a space). `malformed` where
/// its value holds a '%' that two hexadecimal digits do not follow. A parameter whose name cannot
/// be decoded is another parameter.
Parameter query_parameter(std::string_view query, std::string_view name);

/// The values of all parameters of that name, in their order, decoded; nothing in place of one that
/// is malformed.
std::vector<std::optional<std::string>> query_values(std::string_view query, std::string_view name);

/// The decoded name of the first parameter that is none of `known`; as it stands where it cannot be
/// decoded. Nothing where all are known.
std::optional<std::string> unknown_parameter(std::string_view query,
                                             std::span<const std::string_view> known);

/// `text` without the spaces and tabs around it.
std::string_view without_blanks(std::string_view text) noexcept;

}  // namespace waystation
