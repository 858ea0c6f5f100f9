// The C function that issues tokens.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "admission/admission.hpp"
#include "admission/request.hpp"
#include "admission/token.hpp"
#include "api/guarded.hpp"
#include "api/options.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "relay/names.hpp"
#include "waystation/waystation.h"

namespace ws = waystation;

namespace {

constexpr std::uint32_t kLifetimeSeconds = 3600;

waystation_token_request read_sized(const waystation_token_request* given) {
  ws::require(ws::is_sized(given), "request: must not be NULL; zero it and set its size");
  waystation_token_request whole{};
  std::memcpy(&whole, given, std::min(given->size, sizeof whole));
  return whole;
}

/// Rejects unknown scopes: they are probably misspelt, and have no effect in a token.
void check_scopes(std::string_view scopes) {
  for (auto rest = scopes; !rest.empty();) {
    const auto scope = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(scope.size() + 1, rest.size()));
    if (scope.empty() || scope == "push" || scope == "admin") continue;
    throw std::invalid_argument("scopes = " + ws::in_quotes(scopes) +
                                ": unknown scope; allowed: push, admin, or both with a space "
                                "between");
  }
}

}  // namespace

waystation_status waystation_token_issue(const waystation_options* options,
                                         const waystation_token_request* request, char* token,
                                         size_t token_size, waystation_error* error) {
  if (token != nullptr && token_size != 0) *token = '\0';
  return ws::guarded(error, [&] {
    ws::require(ws::is_sized(options) && token != nullptr,
                "options, token: must not be NULL; call waystation_options_init");
    const auto asked = read_sized(request);
    const auto admission = ws::admission_options(ws::with_defaults(*options));
    auto keys = ws::load_keys(admission.jwt_key_file);
    if (!keys) throw ws::OptionError(std::move(keys.error()));

    ws::TokenRequest wanted;
    wanted.user = ws::text_or_empty(asked.user);
    wanted.scope = ws::text_or_empty(asked.scopes);
    wanted.issued_at_ms = ws::wall_clock_ms();
    wanted.lifetime_seconds =
        asked.lifetime_seconds == 0 ? kLifetimeSeconds : asked.lifetime_seconds;
    wanted.issuer = admission.jwt_issuer;
    wanted.audiences = admission.jwt_audience;
    wanted.key_id = ws::text_or_empty(asked.key_id);
    if (const auto checked = ws::check_user_id("user", wanted.user); !checked) {
      throw std::invalid_argument(checked.error().message);
    }
    check_scopes(wanted.scope);

    const auto issued = ws::issue_token(**keys, wanted);
    if (!issued) throw std::invalid_argument(issued.error());
    const auto& text = issued->token;
    if (text.size() >= token_size) {
      throw std::invalid_argument("token_size = " + std::to_string(token_size) +
                                  ": too small for this token; allowed: at least " +
                                  std::to_string(text.size() + 1));
    }
    std::memcpy(token, text.c_str(), text.size() + 1);
    return WAYSTATION_OK;
  });
}
