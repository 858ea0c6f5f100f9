// The options of admission, and the rules parsed from them.
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

/// How callers are identified.
enum class Auth : std::uint8_t { open, jwt, header, callback };

/// The options of admission, with the names of their TOML keys.
struct AdmissionOptions {
  Auth auth = Auth::open;
  std::string jwt_key_file;               // see keys.hpp
  std::string jwt_issuer;                 // empty: any
  std::vector<std::string> jwt_audience;  // at least one must match; empty: any
  std::string identity_header = "X-Forwarded-User";
  std::string scopes_header;                 // empty: no scopes
  std::vector<std::string> trusted_proxies;  // addresses and CIDR blocks
  std::vector<std::string> allowed_origins;  // scheme://host[:port]
  std::vector<std::string> allowed_hosts;    // host[:port]; without a port: any
  std::vector<std::string> operators = {"127.0.0.0/8", "::1"};
  bool allow_open_network = false;
  bool allow_query_token = false;
  bool allow_anonymous = true;    // with Auth::open; false with several nodes
  std::string handover_key_file;  // empty: askers need no key
  ConnectionLimits limits;
  Identify identify;  // for Auth::callback
};

/// The non-empty entries of a comma-separated list, without the blanks around them.
std::vector<std::string> split_list(std::string_view text);

/// Reads the key file of the option `jwt_key_file`.
Result<std::shared_ptr<const KeyRing>> load_keys(const std::string& jwt_key_file);

/// Options that are allowed but probably a mistake; for `config check` and the log.
std::vector<Error> config_warnings(const AdmissionOptions& options);

/// The parsed options, against which requests are checked. Immutable.
struct AdmissionRules {
  AdmissionOptions options;
  AddressList trusted_proxies;
  AddressList operators;
  HostRules hosts;
  std::shared_ptr<const KeyRing> keys;
  std::shared_ptr<const SecretString> handover_key;  // null: askers need none
};

/// The rules, or every mistake in the options.
Result<AdmissionRules, std::vector<Error>> read_rules(AdmissionOptions options);

}  // namespace waystation
