#include "admission/host.hpp"

#include <algorithm>

#include "admission/address.hpp"
#include "base/ascii.hpp"
#include "base/error.hpp"

namespace waystation {
namespace {

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
constexpr bool is_letter(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
  if (text.empty() || text.size() > 5 || !std::ranges::all_of(text, is_digit)) return std::nullopt;
  unsigned port = 0;
  for (const char c : text) port = port * 10 + static_cast<unsigned>(c - '0');
  if (port == 0 || port > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(port);
}

/// Whether `text` consists of non-empty labels of letters, digits, '-' and '_'.
bool is_name(std::string_view text) noexcept {
  if (text.empty() || text.size() > 253) return false;
  char before = '.';
  for (const char c : text) {
    if (c == '.' ? before == '.' : !is_letter(c) && !is_digit(c) && c != '-' && c != '_') {
      return false;
    }
    before = c;
  }
  return before != '.';
}

/// Whether a browser parses the name as an IPv4 address (URL Standard, "ends in a number").
bool ends_in_number(std::string_view name) noexcept {
  const std::string_view last = name.substr(name.rfind('.') + 1);
  return std::ranges::all_of(last, is_digit) || last.starts_with("0x");
}

/// The host of a request. Nothing if it is missing, repeated or contradictory.
std::optional<HostPort> host_of(const Request& request) {
  const OneValue field = header_value(request, "Host");
  if (!field.is_one()) return std::nullopt;
  auto host = HostPort::parse(field.value);
  if (const auto target = split_target(request); target && target->is_absolute) {
    if (HostPort::parse(target->authority) != host) return std::nullopt;
  }
  return host;
}

Refusal bad_host(const Request& request, std::string detail) {
  Refusal refusal{RefusalCode::bad_host, std::move(detail)};
  const OneValue field = header_value(request, "Host");
  refusal.log_detail = "Host " + (field.is_one()    ? in_quotes(field.value)
                                  : field.is_none() ? "is missing"
                                                    : "is repeated");
  return refusal;
}

}  // namespace

std::optional<HostPort> HostPort::parse(std::string_view text) {
  HostPort result;
  std::string_view host = text;
  std::optional<std::string_view> port;
  if (text.starts_with('[')) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    host = text.substr(1, bracket - 1);
    const std::string_view rest = text.substr(bracket + 1);
    if (!rest.empty() && rest.front() != ':') return std::nullopt;
    if (!rest.empty()) port = rest.substr(1);
    const auto address = Address::parse(host);
    if (!address || host.find(':') == std::string_view::npos ||
        host.find('%') != std::string_view::npos) {
      return std::nullopt;
    }
    result.host = address->to_string();
    result.is_address = true;
  } else {
    if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
      host = text.substr(0, colon);
      port = text.substr(colon + 1);
    }
    if (host.ends_with('.')) host.remove_suffix(1);  // the root label
    if (!is_name(host)) return std::nullopt;
    result.host = to_lower(host);
    result.is_address = ends_in_number(result.host);
    if (result.is_address && !Address::parse(host)) return std::nullopt;
  }
  if (port) {
    result.port = parse_port(*port);
    if (!result.port) return std::nullopt;
  }
  return result;
}

bool HostPort::is_loopback() const {
  if (is_address) {
    const auto address = Address::parse(host);
    return address && address->is_loopback();
  }
  return host == "localhost" || host.ends_with(".localhost");
}

std::optional<WebOrigin> WebOrigin::parse(std::string_view text) {
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const std::string_view scheme = text.substr(0, colon);
  if (!is_letter(scheme.front()) || !std::ranges::all_of(scheme, [](char c) {
        return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
      })) {
    return std::nullopt;
  }
  auto host = HostPort::parse(text.substr(colon + 3));
  if (!host) return std::nullopt;
  WebOrigin origin{to_lower(scheme), std::move(*host)};
  if (!origin.host.port) origin.host.port = default_port(origin.scheme);
  return origin;
}

std::optional<std::uint16_t> default_port(std::string_view scheme) noexcept {
  if (scheme == "http") return std::uint16_t{80};
  if (scheme == "https") return std::uint16_t{443};
  return std::nullopt;
}

Result<HostRules, std::vector<Error>> HostRules::parse(
    std::span<const std::string> allowed_hosts, std::span<const std::string> allowed_origins) {
  HostRules rules;
  std::vector<Error> errors;
  for (const std::string& entry : allowed_hosts) {
    auto host = HostPort::parse(entry);
    if (host) {
      rules.hosts_.push_back(std::move(*host));
    } else {
      errors.push_back(option_error("allowed_hosts", in_quotes(entry), "not a host",
                                    "host names and addresses, with or without a port, such as "
                                    "chat.example or [2001:db8::1]:8080"));
    }
  }
  for (const std::string& entry : allowed_origins) {
    auto origin = WebOrigin::parse(entry);
    if (origin) {
      rules.origins_.push_back(std::move(*origin));
    } else {
      errors.push_back(option_error("allowed_origins", in_quotes(entry), "not an origin",
                                    "scheme://host[:port] without a path or wildcard, such as "
                                    "https://chat.example"));
    }
  }
  if (!errors.empty()) return errors;
  return rules;
}

Result<void, Refusal> HostRules::check_host(const Request& request, bool open_mode,
                                            bool open_network) const {
  const auto host = host_of(request);
  if (!host) {
    return bad_host(request, "the request must name one host, with or without a port, in Host");
  }
  if (!open_mode || host->is_loopback()) return {};
  if (!open_network) {
    return bad_host(request,
                    "without authentication (auth = \"open\") the host must be a loopback name or "
                    "address, such as localhost or 127.0.0.1");
  }
  const bool is_allowed = std::ranges::any_of(hosts_, [&](const HostPort& entry) {
    return entry.host == host->host && (!entry.port || entry.port == host->port);
  });
  if (host->is_address || is_allowed) return {};
  return bad_host(request,
                  "without authentication (auth = \"open\") the host must be an IP address or one "
                  "of allowed_hosts");
}

Result<void, Refusal> HostRules::check_origin(const Request& request) const {
  const OneValue field = header_value(request, "Origin");
  if (field.is_none()) return {};
  if (field.is_one()) {
    if (const auto origin = WebOrigin::parse(field.value)) {
      // Without TLS here, only a proxy in front knows whether the client used http or https. So the
      // origin's scheme gives the default port.
      const auto scheme_port = default_port(origin->scheme);
      auto own = scheme_port ? host_of(request) : std::nullopt;
      if (own && !own->port) own->port = scheme_port;
      const bool is_own = own == origin->host && (!request.is_tls || origin->scheme == "https");
      if (is_own || is_allowed(*origin)) return {};
    }
  }
  Refusal refusal{RefusalCode::bad_origin};
  refusal.log_detail = "Origin " + (field.is_one() ? in_quotes(field.value) : "is repeated");
  return refusal;
}

std::string_view HostRules::allowed_origin(const Request& request) const {
  const OneValue field = header_value(request, "Origin");
  if (!field.is_one()) return {};
  const auto origin = WebOrigin::parse(field.value);
  return origin && is_allowed(*origin) ? field.value : std::string_view();
}

bool HostRules::is_allowed(const WebOrigin& origin) const {
  return std::ranges::find(origins_, origin) != origins_.end();
}

}  // namespace waystation
