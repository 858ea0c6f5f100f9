#include "admission/client_address.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "base/ascii.hpp"
#include "base/error.hpp"
#include "websocket/handshake.hpp"

namespace waystation {
namespace {

bool is_port(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 5 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// Fields that proxies set and clients have no reason to set.
constexpr std::array<std::string_view, 12> kForwardingFields{"Forwarded",
                                                             "Via",
                                                             "X-Real-IP",
                                                             "X-Client-IP",
                                                             "X-Cluster-Client-IP",
                                                             "X-Forwarded",
                                                             "CF-Connecting-IP",
                                                             "True-Client-IP",
                                                             "Fastly-Client-IP",
                                                             "CDN-Loop",
                                                             "X-Original-Forwarded-For",
                                                             "X-Envoy-External-Address"};

bool is_forwarding_field(std::string_view name) noexcept {
  constexpr std::string_view kPrefix = "X-Forwarded-";
  return equal_ignoring_case(name.substr(0, kPrefix.size()), kPrefix) ||
         std::ranges::any_of(kForwardingFields, [&](std::string_view field) {
           return equal_ignoring_case(name, field);
         });
}

/// Parses an entry of X-Forwarded-For: an address, to which some proxies add a port.
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
  // Without brackets only IPv4 can have a port. In IPv6 it would be the last group of the address.
  const bool is_dotted = text.find(':') == colon;
  return is_dotted ? address : std::nullopt;
}

}  // namespace

ClientAddress client_address(const Request& request, const AddressList& trusted) {
  ClientAddress client;
  client.peer = Address::parse(request.remote_address);
  if (!client.peer) {
    client.why_unidentified = "the connection has no IP address";
    return client;
  }
  if (request.handed_over != nullptr) {
    client.address = client.peer;
    return client;
  }
  client.through_trusted_proxy = trusted.contains(*client.peer);

  std::string_view sign;  // evidence that the request was forwarded
  bool has_forwarded_for = false;
  std::vector<std::string_view> entries;
  for (const HeaderField& field : request.headers) {
    if (equal_ignoring_case(field.name, "X-Forwarded-For")) {
      has_forwarded_for = true;
      for_each_token(field.value, [&](std::string_view entry) { entries.push_back(entry); });
    } else if (is_forwarding_field(field.name)) {
      sign = field.name;
    }
  }
  if (has_forwarded_for) sign = "X-Forwarded-For";
  if (sign.empty() && is_before_http_1_1(request)) sign = "HTTP/1.0, as proxies speak it,";
  if (sign.empty()) {
    client.address = client.peer;
    return client;
  }
  if (!client.through_trusted_proxy) {
    client.why_unidentified = "it came with " + std::string(sign) + " from " +
                              client.peer->to_string() + ", not one of trusted_proxies";
    return client;
  }
  if (entries.empty()) {
    client.why_unidentified = "the trusted proxy names the client in no X-Forwarded-For";
    return client;
  }
  // From right to left: entries to the left of the client's address were sent by the client and
  // cannot be trusted.
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    const auto address = parse_entry(*entry);
    if (!address) {
      client.address.reset();
      client.why_unidentified =
          "its X-Forwarded-For holds " + in_quotes(*entry) + ", which is not an address";
      return client;
    }
    client.address = address;
    if (!trusted.contains(*address)) break;
  }
  return client;
}

}  // namespace waystation
