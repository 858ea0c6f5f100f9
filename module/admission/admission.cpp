#include "admission/admission.hpp"

#include <stdexcept>
#include <utility>

#include "admission/credentials.hpp"
#include "admission/token.hpp"
#include "admission/upgrade.hpp"

namespace waystation {
namespace {

Refusal unauthenticated(std::string detail) {
  return {401, "unauthenticated", std::move(detail)};
}

Refusal bad_subject(std::string detail) {
  return {403, "bad_subject", std::move(detail)};
}

Refusal not_an_operator(const ClientAddress& client) {
  return {403, "not_an_operator",
          client.address
              ? client.address->to_string() + " is not one of operators"
              : "this is for operators, and this request is nobody's: " + client.why_nobody};
}

}  // namespace

/// The options in force, read and checked. Immutable.
struct Admission::Settings : AdmissionRules {
  using Answer = std::variant<Identity, Refusal>;

  std::optional<Refusal> check_host_and_origin(const Request& request) const {
    auto refusal =
        hosts.check_host(request, options.auth == Auth::open, options.allow_open_network);
    return refusal ? refusal : hosts.check_origin(request);
  }

  bool is_operator(const ClientAddress& client) const noexcept {
    return client.address && operators.contains(*client.address);
  }

  /// Who is calling. `route` is the socket route they are calling; none for the HTTP API, which
  /// does not ask in open mode.
  Answer identify(const Request& request, const ClientAddress& client, const SocketRoute* route,
                  std::int64_t now_ms) const {
    Answer answer = Identity{};
    switch (options.auth) {
      case Auth::open:
        answer = identify_open(request, client, route);
        break;
      case Auth::jwt:
        answer = identify_jwt(request, now_ms);
        break;
      case Auth::header:
        answer = identify_header(request, client);
        break;
      case Auth::callback:
        answer = identify_callback(request);
        break;
    }
    if (const auto* identity = std::get_if<Identity>(&answer)) {
      if (identity->expires_at_ms != 0 && identity->expires_at_ms <= now_ms) {
        return unauthenticated("the identity has expired");
      }
    }
    return answer;
  }

  Answer identify_open(const Request& request, const ClientAddress& client,
                       const SocketRoute* route) const {
    if (!client.address) {
      return unauthenticated("nobody authenticates here, and this request is nobody's: " +
                             client.why_nobody);
    }
    if (!options.allow_open_network && !client.address->is_loopback()) {
      return unauthenticated("nobody authenticates here, and " + client.address->to_string() +
                             " is not loopback; see allow_open_network");
    }
    Identity identity;
    const auto target = split_target(request);
    const Parameter named = target ? query_parameter(target->query, "user") : Parameter{};
    if (!named.is_none()) {
      if (!is_user_id(named.value)) {  // which is empty where there are several
        return bad_subject("?user= must name one user: 1 to 64 of the characters 0-9 and a-z");
      }
      identity.user = named.value;
    } else if (route != nullptr && route->kind == SocketKind::push) {
      identity.user = route->name;
    }
    return identity;
  }

  Answer identify_jwt(const Request& request, std::int64_t now_ms) const {
    auto found = find_token(request, options.allow_query_token);
    if (auto* refusal = std::get_if<Refusal>(&found)) return std::move(*refusal);
    if (const auto& token = std::get<std::optional<std::string>>(found)) {
      auto verified = verify(*token, now_ms);
      if (auto* problem = std::get_if<std::string>(&verified)) {
        return bad_token(std::move(*problem));
      }
      return std::move(std::get<Identity>(verified));
    }
    return bad_token(
        "there is no token: in Authorization: Bearer, in the cookie waystation_token, or in a "
        "subprotocol entry bearer.<token> next to waystation.v1");
  }

  std::variant<Identity, std::string> verify(std::string_view token, std::int64_t now_ms) const {
    return verify_token(*keys, {options.jwt_issuer, options.jwt_audience}, token, now_ms);
  }

  Answer identify_header(const Request& request, const ClientAddress& client) const {
    if (!client.through_trusted_proxy) {
      return unauthenticated(
          "callers are named by a proxy, and this request came from none of trusted_proxies");
    }
    const OneValue user = header_value(request, options.identity_header);
    if (!user.is_one() || user.value.empty()) {
      return unauthenticated("the proxy must name the caller in one " + options.identity_header);
    }
    Identity identity;
    identity.user = user.value;
    if (!options.scopes_header.empty()) {
      // None, and so no scopes, where there are several.
      identity.scopes = Scopes::parse(header_value(request, options.scopes_header).value);
    }
    return identity;
  }

  Answer identify_callback(const Request& request) const {
    try {
      auto identity = options.identify(request);
      if (identity) return std::move(*identity);
    } catch (...) {
      return Refusal{500, "internal", "the caller could not be identified"};
    }
    return unauthenticated("the caller is not known");
  }

  /// Who may be on the route. Nothing: this caller may.
  static std::optional<Refusal> check_membership(const SocketRoute& route,
                                                 const std::optional<std::string>& caller) {
    if (!caller) return std::nullopt;
    if (route.kind == SocketKind::push) {
      if (*caller == route.name) return std::nullopt;
      return Refusal{403, "not_that_user", "a push socket is for the user whom its path names"};
    }
    // The same words whoever the others are, and whether or not they exist.
    if (*caller == route.users.lo || *caller == route.users.hi) return std::nullopt;
    return Refusal{403, "not_a_member", "a group is for the two users whom its name names"};
  }
};

std::shared_ptr<const Admission::Settings> Admission::read(AdmissionOptions options) {
  return std::make_shared<const Settings>(Settings{read_rules(std::move(options))});
}

Admission::Admission(AdmissionOptions options)
    : settings_(read(std::move(options))), limits_(settings_->options.limits) {}

Admission::~Admission() = default;

std::shared_ptr<const Admission::Settings> Admission::settings() const {
  const std::lock_guard lock(settings_mutex_);
  return settings_;
}

std::optional<std::string> Admission::reconfigure(AdmissionOptions options) {
  const std::lock_guard lock(change_mutex_);
  return change(std::move(options));
}

std::optional<std::string> Admission::reload_keys() {
  const std::lock_guard lock(change_mutex_);
  return change(settings()->options);
}

std::optional<std::string> Admission::change(AdmissionOptions options) {
  try {
    auto settings = read(std::move(options));
    limits_.set(settings->options.limits);
    const std::lock_guard lock(settings_mutex_);
    settings_.swap(settings);
  } catch (const std::invalid_argument& problem) {
    return problem.what();
  }
  return std::nullopt;
}

std::variant<NotOurs, Refusal, Admitted> Admission::admit(const Request& request,
                                                          std::int64_t now_ms) {
  const auto settings = this->settings();
  auto result = admit(*settings, request, now_ms);
  if (auto* refusal = std::get_if<Refusal>(&result)) {
    // So that the page of an allowed origin can read why.
    for (auto& line : cors_headers(request)) refusal->headers.push_back(std::move(line));
  }
  return result;
}

std::variant<NotOurs, Refusal, Admitted> Admission::admit(const Settings& settings,
                                                          const Request& request,
                                                          std::int64_t now_ms) {
  const auto target = split_target(request);
  if (!target) return NotOurs{};
  auto parsed = parse_socket_route(target->path);
  if (std::holds_alternative<NotOurs>(parsed)) return NotOurs{};
  if (auto* refusal = std::get_if<Refusal>(&parsed)) return std::move(*refusal);
  const SocketRoute& route = std::get<SocketRoute>(parsed);
  if (request.method != "GET") {
    return Refusal{405, "method_not_allowed", "a socket is opened with GET", {{"Allow", "GET"}}};
  }

  if (auto refusal = settings.check_host_and_origin(request)) return std::move(*refusal);

  const ClientAddress client = client_address(request, settings.trusted_proxies);
  auto identified = settings.identify(request, client, &route, now_ms);
  if (auto* refusal = std::get_if<Refusal>(&identified)) return std::move(*refusal);
  Identity& identity = std::get<Identity>(identified);
  const bool may_be_anonymous = settings.options.auth == Auth::open;
  if (identity.user ? !is_user_id(*identity.user) : !may_be_anonymous) {
    return bad_subject(
        "the caller's identity is not a user id: 1 to 64 of the characters 0-9 and a-z");
  }
  const Offers offers = subprotocol_offers(request);
  if (offers.v1 && !identity.user) {
    return unauthenticated("waystation.v1 needs a named user, such as ?user=alice");
  }

  if (auto refusal = Settings::check_membership(route, identity.user)) return std::move(*refusal);

  if (offers.any && !offers.v1) {
    return Refusal{400, "bad_subprotocol",
                   "the subprotocol offered must be waystation.v1, or none"};
  }
  if (request.is_tls) {
    return Refusal{501, "tls_unsupported",
                   "a socket under this server's own TLS cannot be taken over; put a TLS proxy in "
                   "front"};
  }

  auto reserved = limits_.reserve(identity.user.value_or(""), client.counted_as());
  if (auto* refusal = std::get_if<Refusal>(&reserved)) return std::move(*refusal);

  Admitted admitted;
  if (auto refusal = check_handshake(request, &admitted.key)) return std::move(*refusal);
  admitted.kind = route.kind;
  admitted.protocol = offers.v1 ? Protocol::v1 : Protocol::plain;
  (route.kind == SocketKind::chat ? admitted.group : admitted.user) = route.name;
  admitted.caller = std::move(identity.user);
  if (offers.v1) admitted.subprotocol = kSubprotocol;
  admitted.expires_at_ms = identity.expires_at_ms;
  admitted.place = std::move(std::get<Place>(reserved));
  return admitted;
}

std::optional<Refusal> Admission::authorize(const Request& request, Scope scope,
                                            std::int64_t now_ms) const {
  const auto settings = this->settings();
  if (auto refusal = settings->check_host_and_origin(request)) return refusal;
  const ClientAddress client = client_address(request, settings->trusted_proxies);
  if (settings->options.auth == Auth::open) {
    if (settings->is_operator(client)) return std::nullopt;
    return not_an_operator(client);
  }
  auto identified = settings->identify(request, client, nullptr, now_ms);
  if (auto* refusal = std::get_if<Refusal>(&identified)) return std::move(*refusal);
  if (std::get<Identity>(identified).scopes.has(scope)) return std::nullopt;
  return Refusal{403, "missing_scope", "this needs the scope " + std::string(scope_name(scope))};
}

bool Admission::is_trusted_proxy(const Address& address) const {
  return settings()->trusted_proxies.contains(address);
}

std::optional<Refusal> Admission::check_host_and_origin(const Request& request) const {
  return settings()->check_host_and_origin(request);
}

std::optional<Refusal> Admission::authorize_operator(const Request& request) const {
  const auto settings = this->settings();
  if (auto refusal = settings->check_host_and_origin(request)) return refusal;
  const ClientAddress client = client_address(request, settings->trusted_proxies);
  if (settings->is_operator(client)) return std::nullopt;
  return not_an_operator(client);
}

bool Admission::takes_tokens() const {
  return settings()->options.auth == Auth::jwt;
}

std::variant<RefreshedToken, Refusal> Admission::refresh(std::string_view token,
                                                         std::string_view user,
                                                         std::int64_t now_ms) const {
  const auto settings = this->settings();
  if (settings->options.auth != Auth::jwt) {
    return Refusal{400, "bad_token", "this relay does not take tokens"};
  }
  auto verified = settings->verify(token, now_ms);
  if (auto* problem = std::get_if<std::string>(&verified)) {
    return Refusal{401, "bad_token", std::move(*problem)};
  }
  const Identity& identity = std::get<Identity>(verified);
  if (identity.user != user) {
    return Refusal{403, "bad_token", "the token is another user's (sub)"};
  }
  return RefreshedToken{identity.expires_at_ms};
}

std::optional<HttpResponse> Admission::preflight(const Request& request,
                                                 std::string_view methods) const {
  if (request.method != "OPTIONS" || header_value(request, "Origin").is_none() ||
      header_value(request, "Access-Control-Request-Method").is_none() ||
      settings()->check_host_and_origin(request)) {
    return std::nullopt;
  }
  HttpResponse response{204, {}, {}, cors_headers(request)};
  if (!response.headers.empty()) {
    response.headers.emplace_back("Access-Control-Allow-Methods", methods);
    response.headers.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type");
    response.headers.emplace_back("Access-Control-Max-Age", "600");
  }
  response.headers.emplace_back("Allow", methods);
  return response;
}

std::optional<HttpResponse> Admission::preflight(const Request& request) const {
  const auto target = split_target(request);
  if (!target || !std::holds_alternative<SocketRoute>(parse_socket_route(target->path))) {
    return std::nullopt;
  }
  return preflight(request, "GET");
}

HeaderLines Admission::cors_headers(const Request& request) const {
  const std::string_view origin = settings()->hosts.allowed_origin(request);
  if (origin.empty()) return {};
  return {{"Access-Control-Allow-Origin", std::string(origin)},
          {"Access-Control-Allow-Credentials", "true"},
          {"Vary", "Origin"}};
}

}  // namespace waystation
