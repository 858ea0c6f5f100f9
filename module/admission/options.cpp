#include "admission/options.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "admission/request.hpp"
#include "websocket/handshake.hpp"

namespace waystation {
namespace {

constexpr std::string_view kAddressesAllowed =
    "; allowed are addresses and blocks such as 192.0.2.7, 10.0.0.0/8 or fd00::/8";

// Of a block that may be somebody's own network: 10.0.0.0/8 and fd00::/8 are the largest there are.
constexpr unsigned kShortestPrefix = 8;

/// Whether a field name is a token (RFC 9110, section 5.6.2).
bool is_field_name(std::string_view name) noexcept {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

/// Reads a list of addresses; throws the line that names the key.
AddressList read_addresses(std::string_view key, const std::vector<std::string>& entries) {
  auto list = AddressList::parse(entries);
  if (const auto* problem = std::get_if<std::string>(&list)) {
    throw std::invalid_argument(std::string(key) + " = " + *problem +
                                std::string(kAddressesAllowed));
  }
  return std::move(std::get<AddressList>(list));
}

HostRules read_hosts(const AdmissionOptions& options) {
  auto rules = HostRules::parse(options.allowed_hosts, options.allowed_origins);
  if (const auto* problem = std::get_if<std::string>(&rules)) {
    throw std::invalid_argument(*problem);
  }
  return std::move(std::get<HostRules>(rules));
}

std::shared_ptr<const KeyRing> read_keys(const AdmissionOptions& options) {
  if (options.auth != Auth::jwt) return std::make_shared<const KeyRing>();
  return load_keys(options.jwt_key_file);
}

void check_header_options(const AdmissionOptions& options) {
  if (options.auth != Auth::header) return;
  if (!is_field_name(options.identity_header)) {
    throw std::invalid_argument("identity_header = " + in_quotes(options.identity_header) +
                                ": allowed is the name of a header field, such as "
                                "X-Forwarded-User");
  }
  if (!options.scopes_header.empty() && !is_field_name(options.scopes_header)) {
    throw std::invalid_argument("scopes_header = " + in_quotes(options.scopes_header) +
                                ": allowed is the name of a header field, or nothing");
  }
  if (options.trusted_proxies.empty()) {
    throw std::invalid_argument(
        "trusted_proxies is empty: auth = \"header\" needs the addresses of the proxies that set "
        "identity_header");
  }
}

}  // namespace

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> entries;
  for_each_token(text, [&](std::string_view entry) { entries.emplace_back(entry); });
  return entries;
}

std::shared_ptr<const KeyRing> load_keys(const std::string& jwt_key_file) {
  if (jwt_key_file.empty()) {
    throw std::invalid_argument("jwt_key_file is empty: tokens need a file of keys");
  }
  auto keys = KeyRing::load(jwt_key_file);
  if (const auto* problem = std::get_if<std::string>(&keys)) {
    throw std::invalid_argument("jwt_key_file = " + in_quotes(jwt_key_file) + ": " + *problem +
                                "; allowed is a regular file that nobody else may use, with "
                                "secrets in base64 or keys in PEM");
  }
  return std::move(std::get<std::shared_ptr<const KeyRing>>(keys));
}

std::vector<std::string> doubts_about(const AdmissionOptions& options) {
  std::vector<std::string> doubts;
  if (options.auth == Auth::open && options.allow_open_network) {
    doubts.emplace_back(
        "allow_open_network = true: everyone who can reach the relay may be any user");
  }
  if (options.auth != Auth::open && options.allow_open_network) {
    doubts.emplace_back("allow_open_network = true: means nothing unless auth = \"open\"");
  }
  if (options.auth != Auth::jwt && !options.jwt_key_file.empty()) {
    doubts.emplace_back("jwt_key_file = " + in_quotes(options.jwt_key_file) +
                        ": means nothing unless auth = \"jwt\"");
  }
  if (options.auth == Auth::jwt && options.jwt_issuer.empty() && options.jwt_audience.empty()) {
    doubts.emplace_back(
        "jwt_issuer and jwt_audience are empty: a token that was signed with one of the keys for "
        "something else is good here too");
  }
  if (options.auth == Auth::jwt && options.allow_query_token) {
    doubts.emplace_back(
        "allow_query_token = true: tokens in the query end up in logs and histories");
  }
  const auto proxies = AddressList::parse(options.trusted_proxies);
  if (const auto* list = std::get_if<AddressList>(&proxies)) {
    for (const AddressBlock& block : list->blocks()) {
      if (block.prefix() >= kShortestPrefix) continue;
      doubts.push_back("trusted_proxies holds " + block.to_string() +
                       ": so many addresses are hardly all proxies, and every other client there "
                       "may say that it is someone else");
    }
  }
  const auto operators = AddressList::parse(options.operators);
  if (const auto* list = std::get_if<AddressList>(&operators)) {
    if (list->is_everybody()) {
      doubts.emplace_back(
          "operators holds every address: everyone may read the figures" +
          std::string(options.auth == Auth::open ? ", send notifications and end sessions" : ""));
    }
  }
  return doubts;
}

AdmissionRules read_rules(AdmissionOptions options) {
  AdmissionRules rules;
  rules.trusted_proxies = read_addresses("trusted_proxies", options.trusted_proxies);
  if (rules.trusted_proxies.is_everybody()) {
    throw std::invalid_argument(
        "trusted_proxies holds every address, so that every client could say that it is someone "
        "else; allowed are the addresses of the proxies");
  }
  rules.operators = read_addresses("operators", options.operators);
  rules.hosts = read_hosts(options);
  check_header_options(options);
  if (options.auth == Auth::callback && !options.identify) {
    throw std::invalid_argument("auth = \"callback\" needs the function identify");
  }
  rules.keys = read_keys(options);
  rules.options = std::move(options);
  return rules;
}

}  // namespace waystation
