// The C function that issues tokens.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>
#include <variant>

#include "admission/admission.hpp"
#include "admission/request.hpp"
#include "admission/token.hpp"
#include "api/guarded.hpp"
#include "api/options.hpp"
#include "relay/names.hpp"
#include "waystation/waystation.h"

namespace ws = waystation;

namespace {

constexpr std::uint32_t kLifetimeSeconds = 3600;

waystation_token_request read_sized(const waystation_token_request* given) {
  if (given == nullptr || given->size < sizeof(std::size_t)) {
    throw std::invalid_argument("request: a zeroed struct with its size set");
  }
  waystation_token_request whole{};
  std::memcpy(&whole, given, std::min(given->size, sizeof whole));
  return whole;
}

/// Scopes nobody knows are probably misspelt, and a token would be none the wiser.
void check_scopes(std::string_view scopes) {
  for (auto rest = scopes; !rest.empty();) {
    const auto scope = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(scope.size() + 1, rest.size()));
    if (scope.empty() || scope == "push" || scope == "admin") continue;
    throw std::invalid_argument("scopes = " + ws::in_quotes(scopes) +
                                ": push, admin, or both with a space between");
  }
}

}  // namespace

waystation_status waystation_token_issue(const waystation_options* options,
                                         const waystation_token_request* request, char* token,
                                         size_t token_size, char* error, size_t error_size) {
  if (token != nullptr && token_size != 0) *token = '\0';
  return ws::guarded_with_error(error, error_size, [&] {
    if (options == nullptr || options->size < sizeof(std::size_t) || token == nullptr) {
      throw std::invalid_argument("options filled in by waystation_options_init, and a buffer");
    }
    const auto asked = read_sized(request);
    const auto admission = ws::admission_options(ws::with_defaults(*options));
    const auto keys = ws::load_keys(admission.jwt_key_file);

    ws::TokenRequest wanted;
    wanted.user = ws::text_or_empty(asked.user);
    wanted.scope = ws::text_or_empty(asked.scopes);
    wanted.issued_at_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                              std::chrono::system_clock::now().time_since_epoch())
                              .count();
    wanted.lifetime_seconds =
        asked.lifetime_seconds == 0 ? kLifetimeSeconds : asked.lifetime_seconds;
    wanted.issuer = admission.jwt_issuer;
    wanted.audiences = admission.jwt_audience;
    wanted.key_id = ws::text_or_empty(asked.key_id);
    if (!ws::is_user_id(wanted.user)) {
      throw std::invalid_argument("user = " + ws::in_quotes(wanted.user) +
                                  ": 1 to 64 of the characters 0-9 and a-z");
    }
    check_scopes(wanted.scope);

    const auto issued = ws::issue_token(*keys, wanted);
    if (const auto* problem = std::get_if<std::string>(&issued)) {
      throw std::invalid_argument(*problem);
    }
    const auto& text = std::get<ws::IssuedToken>(issued).token;
    if (text.size() >= token_size) {
      throw std::invalid_argument("token_size = " + std::to_string(token_size) + ": at least " +
                                  std::to_string(text.size() + 1) + " for this token");
    }
    std::memcpy(token, text.c_str(), text.size() + 1);
    return WAYSTATION_OK;
  });
}
