// What decides who gets in, as its options say it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "admission/client_address.hpp"
#include "admission/host.hpp"
#include "admission/identity.hpp"
#include "admission/keys.hpp"
#include "admission/limits.hpp"
#include "base/result.hpp"

namespace waystation {

/// Where identity comes from.
enum class Auth : std::uint8_t { open, jwt, header, callback };

/// Every option that decides who gets in, named as its key is.
struct AdmissionOptions {
  Auth auth = Auth::open;
  std::string jwt_key_file;               // see keys.hpp
  std::string jwt_issuer;                 // empty: any
  std::vector<std::string> jwt_audience;  // one of them; empty: any
  std::string identity_header = "X-Forwarded-User";
  std::string scopes_header;                 // empty: no scopes
  std::vector<std::string> trusted_proxies;  // addresses and CIDR blocks
  std::vector<std::string> allowed_origins;  // scheme://host[:port]
  std::vector<std::string> allowed_hosts;    // host[:port]; without a port: any
  std::vector<std::string> operators = {"127.0.0.0/8", "::1"};
  bool allow_open_network = false;
  bool allow_query_token = false;
  ConnectionLimits limits;
  Identify identify;  // for Auth::callback
};

/// The entries of a list separated by commas, stripped of blanks; empty ones left out.
std::vector<std::string> split_list(std::string_view text);

/// Reads the keys of the option of that name.
Result<std::shared_ptr<const KeyRing>> load_keys(const std::string& jwt_key_file);

/// Options that are allowed, but probably not what was meant; for `config check` and the log.
std::vector<Error> config_warnings(const AdmissionOptions& options);

/// The options, read: what a request is held against. Immutable.
struct AdmissionRules {
  AdmissionOptions options;
  AddressList trusted_proxies;
  AddressList operators;
  HostRules hosts;
  std::shared_ptr<const KeyRing> keys;
};

/// The rules, or every mistake in the options.
Result<AdmissionRules, std::vector<Error>> read_rules(AdmissionOptions options);

}  // namespace waystation
