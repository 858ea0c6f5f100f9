// A parsed HTTP request, and strict accessors to its parts.
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

/// Reads the part of a body that the web server has not read yet.
struct BodySource {
  /// Reads 1 to `size` bytes into `buffer` and returns their number; 0 on a timeout, negative if
  /// the body ended early. The total of all calls never exceeds the request's Content-Length.
  int (*read)(void* data, char* buffer, std::size_t size) = nullptr;
  void* data = nullptr;
};

/// One request. All members are views into memory of the caller; nothing is decoded.
struct Request {
  std::string_view method;               // "GET"
  std::string_view target;               // as on the request line, with or without its query
  std::string_view query;                // the text after '?', if `target` does not have it
  std::string_view version;              // "1.1"
  std::span<const HeaderField> headers;  // in order, with duplicates
  std::string_view remote_address;       // of the TCP peer, as text
  std::uint16_t remote_port = 0;
  std::uint16_t local_port = 0;
  bool is_tls = false;           // the web server terminates TLS on this connection
  bool has_tls_session = false;  // and its session can be adopted with the socket
  const void* origin = nullptr;  // passed to the host application's `identify` unchanged
  std::string_view body;
  bool body_truncated = false;  // the client sent more than `body`
  BodySource body_source;       // if the body is not read yet; `body` is empty then
};

/// The parts of a request target (RFC 9112, section 3.2). Views into the request.
struct Target {
  std::string_view authority;  // of an absolute-form target; empty otherwise
  std::string_view path;       // begins with '/', not decoded
  std::string_view query;      // without the '?', not decoded
  bool is_absolute = false;    // http://host/path
};

/// Whether the request is older than HTTP/1.1. Current clients never send that, but some proxies do
/// by default, such as nginx.
bool is_before_http_1_1(const Request& request) noexcept;

/// Whether the bytes that a client sent on a new connection are enough for a server to go on: the
/// whole header of a request (RFC 9112, section 2.1), or a whole TLS record (RFC 8446,
/// section 5.1).
bool is_server_next(std::string_view bytes) noexcept;

/// Splits a target in origin form or, with http or https, in absolute form. Nothing for any other
/// target: `*`, an authority, an empty one, one with a fragment.
std::optional<Target> split_target(const Request& request) noexcept;

/// A header field that may be missing or repeated.
struct OneValue {
  enum class Found : std::uint8_t { none, one, several };
  Found found = Found::none;
  std::string_view value;  // only if `one`; without the blanks around it

  bool is_one() const noexcept { return found == Found::one; }
  bool is_none() const noexcept { return found == Found::none; }
};

/// Looks up a header field. Names are compared without regard to case.
OneValue header_value(const Request& request, std::string_view name) noexcept;

/// A parameter of a query string.
struct Parameter {
  enum class Found : std::uint8_t { none, one, several, malformed };
  Found found = Found::none;
  std::string value;  // only if `one`; decoded

  bool is_one() const noexcept { return found == Found::one; }
  bool is_none() const noexcept { return found == Found::none; }
};

/// Looks up a parameter by its exact name, after decoding (%xx; '+' is a space). `malformed` if its
/// value has a '%' without two hexadecimal digits. A name that cannot be decoded never matches.
Parameter query_parameter(std::string_view query, std::string_view name);

/// The decoded values of all parameters of that name, in order; nothing for a malformed value.
std::vector<std::optional<std::string>> query_values(std::string_view query, std::string_view name);

/// The name of the first parameter that is not in `known`; nothing if all are. The name is decoded
/// if possible.
std::optional<std::string> unknown_parameter(std::string_view query,
                                             std::span<const std::string_view> known);

/// `text` without the spaces and tabs around it.
std::string_view without_blanks(std::string_view text) noexcept;

}  // namespace waystation
