#include "embed/addresses.hpp"

#include <arpa/inet.h>

#include <array>
#include <charconv>

namespace waystation::server {
namespace {

struct Address {
  bool is_v6 = false;
  std::array<unsigned char, 16> bytes{};
};

std::optional<Address> parse_address(std::string_view text) {
  const std::string terminated{text};
  if (terminated.find('\0') != std::string::npos) return {};
  Address address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) return address;
  address.is_v6 = true;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) return address;
  return {};
}

/// Decimal digits only, no sign, no leading space, at most `highest`.
std::optional<unsigned> parse_number(std::string_view text, unsigned highest) {
  unsigned value = 0;
  const auto end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stop != end || value > highest) return {};
  return value;
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

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return {};
  auto host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = parse_address(host);
  const auto port = parse_number(text.substr(colon + 1), 65535);
  if (!address || !port || address->is_v6 != bracketed) return {};
  return ListenAddress{std::string{host}, static_cast<std::uint16_t>(*port), bracketed};
}

bool is_address_or_block(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = parse_address(text.substr(0, slash));
  if (!address) return false;
  return slash == std::string_view::npos ||
         parse_number(text.substr(slash + 1), address->is_v6 ? 128 : 32).has_value();
}

bool is_everybody(std::string_view block) {
  if (!is_address_or_block(block)) return false;
  const auto slash = block.find('/');
  if (slash == std::string_view::npos) return false;
  const auto bits = *parse_number(block.substr(slash + 1), 128);
  if (bits == 0) return true;
  // An IPv6 block may hold all of IPv4 in its mapped form, ::ffff:0:0/96.
  const auto address = *parse_address(block.substr(0, slash));
  if (!address.is_v6 || bits > 96) return false;
  std::array<unsigned char, 16> mapped{};
  mapped[10] = mapped[11] = 0xff;
  for (unsigned bit = 0; bit < bits; ++bit) {
    const auto mask = static_cast<unsigned char>(0x80U >> (bit % 8));
    if ((address.bytes[bit / 8] & mask) != (mapped[bit / 8] & mask)) return false;
  }
  return true;
}

}  // namespace waystation::server
