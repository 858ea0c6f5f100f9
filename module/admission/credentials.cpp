#include "admission/credentials.hpp"

#include <algorithm>
#include <utility>

#include "base/ascii.hpp"
#include "websocket/handshake.hpp"

namespace waystation {
namespace {

constexpr std::string_view kBearerEntry = "bearer.";
constexpr std::string_view kTokenCookie = "waystation_token";
constexpr std::string_view kTokenParameter = "access_token";

/// Stores `value` in `found`. False if `found` already has a different value.
bool agrees(std::optional<std::string>& found, std::string_view value) {
  if (found && *found != value) return false;
  found = value;
  return true;
}

/// The token of `Authorization: Bearer`. Other schemes are ignored: they may be for a proxy.
FoundToken token_of_authorization(const Request& request) {
  const OneValue field = header_value(request, "Authorization");
  if (field.is_none()) return std::optional<std::string>();
  if (!field.is_one()) return bad_token("there is more than one Authorization field");
  constexpr std::string_view kBearer = "Bearer";
  if (!equal_ignoring_case(field.value.substr(0, kBearer.size()), kBearer) ||
      (field.value.size() > kBearer.size() && field.value[kBearer.size()] != ' ')) {
    return std::optional<std::string>();
  }
  return std::optional<std::string>(without_blanks(field.value.substr(kBearer.size())));
}

FoundToken token_of_subprotocol(const Request& request) {
  std::optional<std::string> found;
  bool all_agree = true;
  for (const HeaderField& field : request.headers) {
    if (!equal_ignoring_case(field.name, "Sec-WebSocket-Protocol")) continue;
    for_each_token(field.value, [&](std::string_view entry) {
      if (entry.starts_with(kBearerEntry)) {
        all_agree &= agrees(found, entry.substr(kBearerEntry.size()));
      }
    });
  }
  if (!all_agree) return bad_token("there is more than one bearer. subprotocol entry");
  return found;
}

/// The token cookie (RFC 6265, section 4.2). Two different values are refused, because another site
/// under the same domain may have set one of them.
FoundToken token_of_cookie(const Request& request) {
  std::optional<std::string> found;
  for (const HeaderField& field : request.headers) {
    if (!equal_ignoring_case(field.name, "Cookie")) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const std::string_view pair = rest.substr(0, rest.find(';'));
      rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
      const std::size_t equals = pair.find('=');
      if (equals == std::string_view::npos ||
          without_blanks(pair.substr(0, equals)) != kTokenCookie) {
        continue;
      }
      std::string_view value = without_blanks(pair.substr(equals + 1));
      if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"')) {
        value = value.substr(1, value.size() - 2);
      }
      if (!agrees(found, value)) {
        return bad_token("there are several waystation_token cookies");
      }
    }
  }
  return found;
}

FoundToken token_of_query(const Request& request) {
  const auto target = split_target(request);
  const Parameter parameter =
      target ? query_parameter(target->query, kTokenParameter) : Parameter{};
  if (parameter.is_none()) return std::optional<std::string>();
  if (!parameter.is_one()) return bad_token("access_token is given twice or malformed");
  return std::optional<std::string>(parameter.value);
}

}  // namespace

Refusal bad_token(std::string detail) {
  return {RefusalCode::unauthenticated, std::move(detail), {{"WWW-Authenticate", "Bearer"}}};
}

FoundToken find_token(const Request& request, bool allow_query) {
  for (const auto source : {token_of_authorization, token_of_subprotocol, token_of_cookie}) {
    auto found = source(request);
    if (!found || *found) return found;
  }
  return allow_query ? token_of_query(request) : std::optional<std::string>();
}

}  // namespace waystation
