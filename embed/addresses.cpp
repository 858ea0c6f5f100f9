#include "embed/addresses.hpp"

#include <arpa/inet.h>

#include <array>
#include <charconv>

namespace waystation::server {
namespace {

struct IpAddress {
  bool is_v6 = false;
  std::array<unsigned char, 16> bytes{};
};

std::optional<IpAddress> parse_address(std::string_view text) {
  const std::string terminated{text};
  if (terminated.find('\0') != std::string::npos) return {};
  IpAddress address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) return address;
  address.is_v6 = true;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) return address;
  return {};
}

/// Reads decimal digits without sign or space, up to `highest`.
std::optional<unsigned> parse_number(std::string_view text, unsigned highest) {
  unsigned value = 0;
  const auto end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stop != end || value > highest) return {};
  return value;
}

constexpr std::string_view kPlainScheme = "http://";
constexpr std::string_view kTlsScheme = "https://";

/// Takes the scheme off the front of `text`. Returns whether it is that of TLS.
bool take_scheme(std::string_view& text) {
  const bool is_tls = text.starts_with(kTlsScheme);
  if (is_tls)
    text.remove_prefix(kTlsScheme.size());
  else if (text.starts_with(kPlainScheme))
    text.remove_prefix(kPlainScheme.size());
  return is_tls;
}

}  // namespace

bool ListenAddress::is_loopback() const {
  const auto parsed = parse_address(address);
  if (!parsed) return false;
  if (!parsed->is_v6) return parsed->bytes[0] == 127;
  std::array<unsigned char, 16> loopback{};
  loopback[15] = 1;
  return parsed->bytes == loopback;
}

std::string ListenAddress::text() const {
  return (is_v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

std::string ListenAddress::url() const {
  return std::string{is_tls ? kTlsScheme : kPlainScheme} + text();
}

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
  const bool is_tls = take_scheme(text);
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return {};
  auto host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = parse_address(host);
  const auto port = parse_number(text.substr(colon + 1), 65535);
  if (!address || !port || address->is_v6 != bracketed) return {};
  return ListenAddress{std::string{host}, static_cast<std::uint16_t>(*port), bracketed, is_tls};
}

std::string listen_address_problem(std::string_view text) {
  if (parse_listen_address(text)) return {};
  const auto is_digits = [](std::string_view part) {
    return !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
  };
  take_scheme(text);
  if (text.find("://") != std::string_view::npos) return "the scheme is not http or https";
  if (text.find('/') != std::string_view::npos) return "there is a path behind the port";
  if (is_digits(text)) return "there is no address before the port";
  const auto whole = parse_address(text);
  const auto colon = text.rfind(':');
  if (whole && whole->is_v6) return "there is no port, and an IPv6 address needs brackets";
  if (colon == std::string_view::npos || text.back() == ']') return "there is no port";

  auto host = text.substr(0, colon);
  const auto port = text.substr(colon + 1);
  if (host.empty()) return "there is no address before the port";
  if (port.empty()) return "there is no port after the colon";
  if (!is_digits(port)) return "the port is not a number";
  if (!parse_number(port, 65535)) return "the port is greater than 65535";
  const bool is_bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (is_bracketed) host = host.substr(1, host.size() - 2);
  const auto address = parse_address(host);
  if (address && address->is_v6) return "an IPv6 address needs brackets";
  if (address) return "brackets are for IPv6 addresses";
  if (host == "*") return "* is not an address; 0.0.0.0 means all addresses";
  const bool looks_numeric = host.find_first_not_of("0123456789.") == std::string_view::npos;
  if (looks_numeric || is_bracketed || host.find(':') != std::string_view::npos) {
    return "the text before the port is not an address";
  }
  return "the address is a name, and names are not resolved";
}

}  // namespace waystation::server
