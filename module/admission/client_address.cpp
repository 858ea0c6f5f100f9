#include "admission/client_address.hpp"

#include <algorithm>
#include <vector>

#include "websocket/handshake.hpp"

namespace waystation {
namespace {

bool is_port(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 5 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// An entry of X-Forwarded-For: an address, and with some proxies its port.
std::optional<Address> parse_entry(std::string_view text) noexcept {
  if (const auto address = Address::parse(text)) return address;
  const std::size_t colon = text.rfind(':');
  if (text.starts_with('[')) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    const std::string_view rest = text.substr(bracket + 1);
    if (!rest.empty() && (rest.front() != ':' || !is_port(rest.substr(1)))) return std::nullopt;
    const auto address = Address::parse(text.substr(1, bracket - 1));
    const bool is_v6_text = text.substr(1, bracket - 1).find(':') != std::string_view::npos;
    return is_v6_text ? address : std::nullopt;
  }
  if (colon == std::string_view::npos || !is_port(text.substr(colon + 1))) return std::nullopt;
  const auto address = Address::parse(text.substr(0, colon));
  // Without brackets only IPv4 can have a port: the last group of an IPv6 address is none.
  const bool is_dotted = text.find(':') == colon;
  return is_dotted ? address : std::nullopt;
}

}  // namespace

ClientAddress client_address(const Request& request, const AddressList& trusted) {
  ClientAddress client;
  client.peer = Address::parse(request.remote_address);
  if (!client.peer) {
    client.why_nobody = "the connection has no IP address";
    return client;
  }
  client.through_trusted_proxy = trusted.contains(*client.peer);

  std::string_view other;  // a forwarding header field that is not X-Forwarded-For
  bool has_forwarded_for = false;
  std::vector<std::string_view> entries;
  for (const HeaderField& field : request.headers) {
    if (equal_ignoring_case(field.name, "X-Forwarded-For")) {
      has_forwarded_for = true;
      for_each_token(field.value, [&](std::string_view entry) { entries.push_back(entry); });
    } else if (equal_ignoring_case(field.name, "Forwarded")) {
      other = "Forwarded";
    } else if (equal_ignoring_case(field.name, "X-Real-IP")) {
      other = "X-Real-IP";
    }
  }
  if (!has_forwarded_for && other.empty()) {
    client.address = client.peer;
    return client;
  }
  const std::string name(has_forwarded_for ? "X-Forwarded-For" : other);
  if (!client.through_trusted_proxy) {
    client.why_nobody =
        "it carries " + name + " from " + client.peer->to_string() + ", not one of trusted_proxies";
    return client;
  }
  if (entries.empty()) {
    client.why_nobody = "the trusted proxy names the client in no X-Forwarded-For";
    return client;
  }
  // What stands further left than the first address that is not a proxy's was written by the
  // client itself, and may be anything.
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    const auto address = parse_entry(*entry);
    if (!address) {
      client.address.reset();
      client.why_nobody =
          "its X-Forwarded-For holds " + in_quotes(*entry) + ", which is no address";
      return client;
    }
    client.address = address;
    if (!trusted.contains(*address)) break;
  }
  return client;
}

}  // namespace waystation
