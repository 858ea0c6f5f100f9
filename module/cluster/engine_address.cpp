#include "cluster/engine_address.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/ascii.hpp"
#include "base/error.hpp"

namespace waystation {
namespace {

constexpr std::uint16_t kRedisPort = 6379;
constexpr std::uint16_t kSentinelPort = 26379;
constexpr std::uint32_t kMaxDatabase = 65535;
constexpr std::size_t kMaxHosts = 16;
constexpr std::string_view kRedis = "redis://";
constexpr std::string_view kSentinel = "redis+sentinel://";
constexpr std::string_view kUnix = "unix://";

using Problem = std::string_view;  // empty: none

template <typename Number>
bool parse_number(std::string_view text, Number most, Number& value) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value <= most;
}

/// Printable ASCII without blanks, so that it can stand in a command line and a log.
bool is_plain(std::string_view text) noexcept {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

int hex_digit(char c) noexcept {
  const char lower = to_lower(c);
  if (lower >= '0' && lower <= '9') return lower - '0';
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// Decodes %XX (RFC 3986 section 2.1); false for a '%' without two digits.
bool decode(std::string_view text, std::string& decoded) {
  decoded.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return false;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return false;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return true;
}

/// Takes "[[user]:password@]" from the beginning of `rest`.
Problem take_login(std::string_view& rest, EngineAddress& address) {
  const auto at = rest.rfind('@', rest.find('/'));
  if (at == std::string_view::npos) return {};
  const auto login = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  const auto colon = login.find(':');
  if (colon == std::string_view::npos) return "a user without a password";
  if (!decode(login.substr(0, colon), address.user) ||
      !decode(login.substr(colon + 1), address.password)) {
    return "a '%' that two hexadecimal digits do not follow; write %25 for '%'";
  }
  return address.password.empty() ? Problem("an empty password") : Problem();
}

Problem parse_host(std::string_view text, std::uint16_t default_port, EngineHost& host) {
  host.port = default_port;
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return "an IPv6 address without ']'";
    host.host = text.substr(1, end - 1);
    port = text.substr(end + 1);
  } else {
    const auto colon = std::min(text.find(':'), text.size());
    host.host = text.substr(0, colon);
    port = text.substr(colon);
  }
  constexpr std::uint16_t kMaxPort = 65535;
  if (host.host.empty()) return "a host is missing";
  if (!is_plain(host.host)) return "a host with a character that no host name has";
  if (port.empty()) return {};
  if (port.front() != ':' || !parse_number(port.substr(1), kMaxPort, host.port) || host.port == 0) {
    return "the port is not a number from 1 to 65535; an IPv6 address needs brackets";
  }
  return {};
}

Problem parse_hosts(std::string_view text, std::uint16_t default_port,
                    std::vector<EngineHost>& hosts) {
  for (bool is_last = false; !is_last;) {
    const auto comma = text.find(',');
    is_last = comma == std::string_view::npos;
    EngineHost host;
    if (const auto problem = parse_host(text.substr(0, comma), default_port, host);
        !problem.empty()) {
      return problem;
    }
    hosts.push_back(std::move(host));
    if (hosts.size() > kMaxHosts) return "over 16 hosts";
    if (!is_last) text.remove_prefix(comma + 1);
  }
  return {};
}

Problem parse_database(std::string_view text, EngineAddress& address) {
  return parse_number(text, kMaxDatabase, address.database)
             ? Problem()
             : Problem("the database is not a number from 0 to 65535");
}

Problem parse(std::string_view text, EngineAddress& address) {
  if (text.starts_with(kUnix)) {
    text.remove_prefix(kUnix.size());
    if (const auto problem = take_login(text, address); !problem.empty()) return problem;
    if (!text.starts_with('/') || text.size() < 2) return "the path does not begin with '/'";
    if (!is_plain(text)) return "a path with a blank or an unprintable character";
    address.hosts.push_back({std::string(text), 0});
    return {};
  }
  const bool uses_sentinel = text.starts_with(kSentinel);
  if (!uses_sentinel && !text.starts_with(kRedis)) return "an unknown scheme";
  text.remove_prefix(uses_sentinel ? kSentinel.size() : kRedis.size());
  if (const auto problem = take_login(text, address); !problem.empty()) return problem;
  const auto slash = std::min(text.find('/'), text.size());
  if (const auto problem = parse_hosts(text.substr(0, slash),
                                       uses_sentinel ? kSentinelPort : kRedisPort, address.hosts);
      !problem.empty()) {
    return problem;
  }
  auto path = text.substr(std::min(slash + 1, text.size()));
  if (!uses_sentinel) {
    if (address.hosts.size() != 1) return "several hosts without Sentinel; each shard is an entry";
    return path.empty() ? Problem() : parse_database(path, address);
  }
  const auto end = std::min(path.find('/'), path.size());
  address.primary_name = path.substr(0, end);
  if (address.primary_name.empty()) return "the name of the primary is missing";
  if (!is_plain(address.primary_name)) return "the name of the primary has a blank";
  return end == path.size() ? Problem() : parse_database(path.substr(end + 1), address);
}

/// The text without user and password, wherever a mistake in it is.
std::string without_login(std::string_view text) {
  const auto at = text.rfind('@');
  if (at == std::string_view::npos) return std::string(text);
  const auto scheme = text.find("://");
  const auto keep = scheme == std::string_view::npos || scheme > at ? 0 : scheme + 3;
  return std::string(text.substr(0, keep)) + ":***" + std::string(text.substr(at));
}

}  // namespace

std::string EngineHost::describe() const {
  if (is_path()) return host;
  const bool is_v6 = host.find(':') != std::string::npos;
  return (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string same_server_clause(std::string_view other) {
  return "the same server as " + in_quotes(other) +
         "; each entry of cluster needs a server of its own, another database does not suffice";
}

bool EngineAddress::has_server_of(const EngineAddress& other) const noexcept {
  const auto is_in_other = [&other](const EngineHost& host) {
    return std::ranges::find(other.hosts, host) != other.hosts.end();
  };
  return primary_name == other.primary_name && std::ranges::any_of(hosts, is_in_other);
}

std::string EngineAddress::describe() const {
  std::string text(uses_sentinel() ? kSentinel : hosts.front().is_path() ? kUnix : kRedis);
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (i != 0) text += ',';
    text += hosts[i].describe();
  }
  if (uses_sentinel()) text += "/" + primary_name;
  if (database != 0) text += "/" + std::to_string(database);
  return text;
}

Result<EngineAddress> parse_engine_address(std::string_view option, std::string_view text) {
  EngineAddress address;
  const auto problem = parse(text, address);
  if (problem.empty()) return address;
  return option_error(option, in_quotes(without_login(text)), problem, kEngineAddressAllowed);
}

}  // namespace waystation
