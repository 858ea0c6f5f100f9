#include "admission/options.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "admission/request.hpp"
#include "base/error.hpp"
#include "websocket/handshake.hpp"

namespace waystation {
namespace {

constexpr std::string_view kAddressesAllowed =
    "addresses and CIDR blocks, such as 192.0.2.7, 10.0.0.0/8 or fd00::/8";
constexpr std::string_view kFieldNameAllowed =
    "the name of an HTTP header field, such as X-Forwarded-User";

// A larger block cannot be a private network: the largest ones are 10.0.0.0/8 and fd00::/8.
constexpr unsigned kShortestPrefix = 8;

/// Whether a field name is a token (RFC 9110, section 5.6.2).
bool is_field_name(std::string_view name) noexcept {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

using Errors = std::vector<Error>;

constexpr std::string_view kKeyFileAllowed =
    "a regular file that only its owner may use, with secrets in base64 or keys in PEM";

constexpr std::string_view kHandoverKeyAllowed =
    "a regular file that only its owner may use, with a key of 16 to 256 bytes";
constexpr std::size_t kMinHandoverKey = 16;
constexpr std::size_t kMaxHandoverKey = 256;

/// The key of the door's askers; null where there is none, or a mistake.
std::shared_ptr<const SecretString> read_handover_key(const std::string& path, Errors& errors) {
  if (path.empty()) return nullptr;
  if (is_pasted_text(path)) {
    errors.push_back(withheld_path("handover_key_file", kHandoverKeyAllowed));
    return nullptr;
  }
  auto key = std::make_shared<SecretString>();
  auto problem = read_private_file(path, *key);
  auto& text = key->text;
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (problem.empty() && (text.size() < kMinHandoverKey || text.size() > kMaxHandoverKey)) {
    problem = "its key has " + std::to_string(text.size()) + " bytes";
  }
  if (problem.empty()) return key;
  errors.push_back(
      option_error("handover_key_file", waystation::in_quotes(path), problem, kHandoverKeyAllowed));
  return nullptr;
}

AddressList read_addresses(std::string_view option, const std::vector<std::string>& entries,
                           Errors& errors) {
  for (const auto& entry : entries) {
    const auto block = AddressBlock::parse(entry);
    if (!block) {
      errors.push_back(option_error(option, in_quotes(entry), block.error(), kAddressesAllowed));
    }
  }
  auto list = AddressList::parse(entries);
  return list ? std::move(*list) : AddressList{};
}

/// The entries of an option as one text, for an error.
std::string in_quotes(const std::vector<std::string>& entries) {
  std::string text;
  for (const auto& entry : entries) text += (text.empty() ? "" : ",") + entry;
  return waystation::in_quotes(text);
}

AddressList read_proxies(const AdmissionOptions& options, Errors& errors) {
  auto proxies = read_addresses("trusted_proxies", options.trusted_proxies, errors);
  if (proxies.contains_all_addresses()) {
    errors.push_back(option_error("trusted_proxies", in_quotes(options.trusted_proxies),
                                  "every address would be trusted, so that every client could "
                                  "claim to be another",
                                  "the addresses of your own proxies"));
  }
  return proxies;
}

void check_field_name(std::string_view option, const std::string& name, bool may_be_empty,
                      Errors& errors) {
  if (name.empty() ? may_be_empty : is_field_name(name)) return;
  errors.push_back(option_error(option, waystation::in_quotes(name),
                                name.empty() ? "auth = \"header\" needs it" : "not a field name",
                                kFieldNameAllowed));
}

}  // namespace

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> entries;
  for_each_token(text, [&](std::string_view entry) { entries.emplace_back(entry); });
  return entries;
}

Result<std::shared_ptr<const KeyRing>> load_keys(const std::string& jwt_key_file) {
  if (jwt_key_file.empty()) {
    return option_error("jwt_key_file", "\"\"", "tokens need a file of keys", kKeyFileAllowed);
  }
  if (is_pasted_key(jwt_key_file)) return withheld_path("jwt_key_file", kKeyFileAllowed);
  auto keys = KeyRing::load(jwt_key_file);
  if (!keys) {
    return option_error("jwt_key_file", waystation::in_quotes(jwt_key_file), keys.error(),
                        kKeyFileAllowed);
  }
  return std::move(*keys);
}

std::vector<Error> config_warnings(const AdmissionOptions& options) {
  Errors warnings;
  const auto warn = [&](std::string_view option, std::string_view value, std::string_view problem) {
    warnings.push_back(option_error(option, value, problem));
  };
  if (options.auth == Auth::open && options.allow_open_network) {
    warn("allow_open_network", "true", "everyone who can reach the relay may be any user");
  }
  if (options.auth != Auth::open && options.allow_open_network) {
    warn("allow_open_network", "true", "has no effect unless auth = \"open\"");
  }
  if (options.auth != Auth::jwt && !options.jwt_key_file.empty() &&
      !is_pasted_key(options.jwt_key_file)) {
    warn("jwt_key_file", waystation::in_quotes(options.jwt_key_file),
         "has no effect unless auth = \"jwt\"");
  }
  if (options.auth == Auth::jwt && options.jwt_issuer.empty() && options.jwt_audience.empty()) {
    warn("jwt_audience", "[]",
         "jwt_issuer is empty too, so every token that the keys sign is accepted; set jwt_audience "
         "if the keys sign for other services");
  }
  if (options.auth == Auth::jwt && options.allow_query_token) {
    warn("allow_query_token", "true", "tokens in the query end up in logs and browser histories");
  }
  if (options.auth == Auth::header && options.trusted_proxies.empty()) {
    warn("trusted_proxies", "\"\"",
         "no proxy can name users with identity_header; only web servers that hand over "
         "connections can name them");
  }
  const auto proxies = AddressList::parse(options.trusted_proxies);
  if (proxies && !proxies->contains_all_addresses()) {
    for (const AddressBlock& block : proxies->blocks()) {
      if (block.prefix() >= kShortestPrefix) continue;
      warn("trusted_proxies", waystation::in_quotes(block.to_string()),
           "so many addresses can hardly all be proxies, and every other client there can claim to "
           "be another");
    }
  }
  const auto operators = AddressList::parse(options.operators);
  if (operators && operators->contains_all_addresses()) {
    warn(
        "operators", in_quotes(options.operators),
        options.auth == Auth::open
            ? "every address: everyone may read the statistics, send notifications and end sessions"
            : "every address: everyone may read the statistics");
  }
  return warnings;
}

Result<AdmissionRules, std::vector<Error>> read_rules(AdmissionOptions options) {
  Errors errors;
  AdmissionRules rules;
  if (options.auth == Auth::callback && !options.identify) {
    errors.push_back(option_error("auth", "\"callback\"", "needs the function identify"));
  }
  if (options.auth == Auth::jwt) {
    auto keys = load_keys(options.jwt_key_file);
    if (keys) {
      rules.keys = std::move(*keys);
    } else {
      errors.push_back(std::move(keys.error()));
    }
  } else {
    if (is_pasted_key(options.jwt_key_file))
      errors.push_back(withheld_path("jwt_key_file", kKeyFileAllowed));
    rules.keys = std::make_shared<const KeyRing>();
  }
  rules.handover_key = read_handover_key(options.handover_key_file, errors);
  const bool needs_header = options.auth == Auth::header;
  check_field_name("identity_header", options.identity_header, !needs_header, errors);
  check_field_name("scopes_header", options.scopes_header, true, errors);
  rules.trusted_proxies = read_proxies(options, errors);
  auto hosts = HostRules::parse(options.allowed_hosts, options.allowed_origins);
  if (hosts) {
    rules.hosts = std::move(*hosts);
  } else {
    std::ranges::move(hosts.error(), std::back_inserter(errors));
  }
  rules.operators = read_addresses("operators", options.operators, errors);
  if (!errors.empty()) return errors;
  rules.options = std::move(options);
  return rules;
}

}  // namespace waystation
