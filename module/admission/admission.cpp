#include "admission/admission.hpp"

#include <utility>

#include "admission/credentials.hpp"
#include "admission/token.hpp"
#include "admission/upgrade.hpp"

namespace waystation {
namespace {

Refusal unauthenticated(std::string detail) {
  return {RefusalCode::unauthenticated, std::move(detail)};
}

Refusal bad_subject(std::string detail) {
  return {RefusalCode::bad_subject, std::move(detail)};
}

Refusal not_an_operator(const ClientAddress& client) {
  return {RefusalCode::not_an_operator,
          client.address ? client.address->to_string() + " is not one of operators"
                         : "only operators may do this, and the request has no trustworthy client "
                           "address: " +
                               client.why_unidentified};
}

}  // namespace

/// The options in force, read and checked. Immutable.
struct AdmissionSnapshot::Settings : AdmissionRules {
  using Answer = Result<Identity, Refusal>;

  Result<void, Refusal> check_host_and_origin(const Request& request) const {
    auto checked =
        hosts.check_host(request, options.auth == Auth::open, options.allow_open_network);
    return checked ? hosts.check_origin(request) : checked;
  }

  HeaderLines cors_headers(const Request& request) const {
    const std::string_view origin = hosts.allowed_origin(request);
    if (origin.empty()) return {};
    return {{"Access-Control-Allow-Origin", std::string(origin)},
            {"Access-Control-Allow-Credentials", "true"},
            {"Vary", "Origin"}};
  }

  bool is_operator(const ClientAddress& client) const noexcept {
    return client.address && operators.contains(*client.address);
  }

  /// Identifies the caller. `route` is null for the HTTP API, which does not call this in open
  /// mode.
  Answer identify(const Request& request, const ClientAddress& client, const SocketRoute* route,
                  std::int64_t now_ms) const {
    Answer answer = Identity{};
    if (request.handed_over != nullptr && options.auth != Auth::header &&
        !request.handed_over->user.empty()) {
      return Refusal{RefusalCode::identity_not_accepted};
    }
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
    if (answer && answer->expires_at_ms != 0 && answer->expires_at_ms <= now_ms) {
      return unauthenticated("the identity has expired");
    }
    return answer;
  }

  Answer identify_open(const Request& request, const ClientAddress& client,
                       const SocketRoute* route) const {
    if (!client.address) {
      return unauthenticated(
          "there is no authentication (auth = \"open\"), and the request has no trustworthy client "
          "address: " +
          client.why_unidentified);
    }
    if (!options.allow_open_network && !client.address->is_loopback()) {
      return unauthenticated("there is no authentication (auth = \"open\"), and " +
                             client.address->to_string() +
                             " is not loopback; see allow_open_network");
    }
    Identity identity;
    const auto target = split_target(request);
    const Parameter named = target ? query_parameter(target->query, "user") : Parameter{};
    if (!named.is_none()) {
      if (!is_user_id(named.value)) {  // several values: it is empty
        return bad_subject("?user= must name one user: " WAYSTATION_USER_ID_RULE);
      }
      identity.user = named.value;
    } else if (route != nullptr && route->kind == SocketKind::push) {
      identity.user = route->name;
    }
    return identity;
  }

  Answer identify_jwt(const Request& request, std::int64_t now_ms) const {
    auto found = find_token(request, options.allow_query_token);
    if (!found) return std::move(found.error());
    if (*found) {
      auto verified = verify(**found, now_ms);
      if (verified) return std::move(*verified);
      auto refusal = bad_token(std::move(verified.error().detail));
      refusal.log_detail = std::move(verified.error().log_detail);
      return refusal;
    }
    return bad_token(
        "there is no token: in Authorization: Bearer, in the cookie waystation_token, or in a "
        "subprotocol entry bearer.<token> next to waystation.v1");
  }

  Result<Identity, TokenProblem> verify(std::string_view token, std::int64_t now_ms) const {
    return verify_token(*keys, {options.jwt_issuer, options.jwt_audience}, token, now_ms);
  }

  Answer identify_header(const Request& request, const ClientAddress& client) const {
    if (request.handed_over != nullptr) return identify_handed_over(*request.handed_over);
    if (!client.through_trusted_proxy) {
      return unauthenticated(
          "auth = \"header\" needs a proxy that names the caller, and this request did not come "
          "from one "
          "of trusted_proxies");
    }
    const OneValue user = header_value(request, options.identity_header);
    if (!user.is_one() || user.value.empty()) {
      return unauthenticated("the proxy must name the caller in one " + options.identity_header);
    }
    Identity identity;
    identity.user = user.value;
    if (!options.scopes_header.empty()) {
      // If the field is repeated, the value is empty and gives no scopes.
      identity.scopes = Scopes::parse(header_value(request, options.scopes_header).value);
    }
    return identity;
  }

  static Answer identify_handed_over(const HandedOver& client) {
    if (client.user.empty()) {
      return unauthenticated(
          "auth = \"header\" needs a caller, and the web server in front named none");
    }
    Identity identity;
    identity.user = client.user;
    identity.scopes = Scopes::parse(client.scopes);
    return identity;
  }

  Answer identify_callback(const Request& request) const {
    try {
      auto identity = options.identify(request);
      if (identity) return std::move(*identity);
    } catch (...) {
      return Refusal{RefusalCode::internal, "the caller could not be identified"};
    }
    return unauthenticated("the caller is not known");
  }

  /// Whether the caller is a user. In open mode it may also be anonymous.
  Result<void, Refusal> check_user(const Identity& identity) const {
    const bool may_be_anonymous = options.auth == Auth::open;
    if (identity.user ? is_user_id(*identity.user) : may_be_anonymous) return {};
    Refusal refusal{RefusalCode::bad_subject};
    if (options.auth == Auth::jwt) {
      refusal.detail = "the token's sub is missing or not a user: " WAYSTATION_USER_ID_RULE;
    }
    refusal.log_detail = identity.user ? "it is " + in_quotes(*identity.user) : "it names no user";
    return refusal;
  }

  /// `refusal` of a caller that check_user() has not checked.
  static Refusal name_caller(Refusal refusal, const Identity& identity) {
    if (!identity.user) return refusal;
    if (is_user_id(*identity.user)) {
      refusal.user = *identity.user;
    } else {
      refusal.log_detail = "the caller is " + in_quotes(*identity.user);
    }
    return refusal;
  }

  /// Whether the caller may open the route.
  static Result<void, Refusal> check_membership(const SocketRoute& route,
                                                const std::optional<std::string>& caller) {
    if (!caller) return {};
    if (route.kind == SocketKind::push) {
      if (*caller == route.name) return {};
      return Refusal{RefusalCode::not_that_user};
    }
    // The answer must not reveal whether the users of the group exist.
    if (*caller == route.users.lo || *caller == route.users.hi) return {};
    return Refusal{RefusalCode::not_a_member};
  }
};

Result<std::shared_ptr<const Admission::Settings>> Admission::read(AdmissionOptions options) {
  auto rules = read_rules(std::move(options));
  if (!rules) return std::move(rules.error().front());
  return std::make_shared<const Settings>(Settings{std::move(*rules)});
}

Admission::Admission(AdmissionOptions options)
    : settings_([&] {
        auto settings = read(std::move(options));
        if (!settings) throw OptionError(std::move(settings.error()));
        return std::move(*settings);
      }()),
      limits_(settings_->options.limits) {}

Admission::~Admission() = default;

AdmissionSnapshot Admission::snapshot() {
  const MutexLock lock(settings_mutex_);
  return {settings_, limits_};
}

Result<void> Admission::reconfigure(AdmissionOptions options) {
  const MutexLock changing(change_mutex_);
  auto settings = read(std::move(options));
  if (!settings) return std::move(settings.error());
  limits_.set((*settings)->options.limits);
  const MutexLock lock(settings_mutex_);
  settings_.swap(*settings);
  return {};
}

Result<void, Refusal> AdmissionSnapshot::check_asker(const HandedOver& client) const {
  const auto& key = settings_->handover_key;
  if (key == nullptr || key->equals(client.key)) return {};
  return Refusal{.code = RefusalCode::bad_handover,
                 .log_detail = client.key.empty() ? "it sent no key; see handover_key_file"
                                                  : "its key is wrong; see handover_key_file"};
}

std::variant<Declined, Refusal, Admitted> AdmissionSnapshot::admit(const Request& request,
                                                                   std::int64_t now_ms) const {
  auto result = admit_without_cors(request, now_ms);
  if (auto* refusal = std::get_if<Refusal>(&result)) {
    // Lets a page of an allowed origin read the reason.
    for (auto& line : cors_headers(request)) refusal->headers.push_back(std::move(line));
  }
  return result;
}

std::variant<Declined, Refusal, Admitted> AdmissionSnapshot::admit_without_cors(
    const Request& request, std::int64_t now_ms) const {
  const auto target = split_target(request);
  if (!target) return Declined{};
  auto parsed = parse_socket_route(target->path);
  if (std::holds_alternative<Declined>(parsed)) return Declined{};
  if (auto* refusal = std::get_if<Refusal>(&parsed)) return std::move(*refusal);
  const SocketRoute& route = std::get<SocketRoute>(parsed);
  if (request.method != "GET") {
    return Refusal{
        RefusalCode::method_not_allowed, "a socket is opened with GET", {{"Allow", "GET"}}};
  }

  if (auto checked = check_host_and_origin(request); !checked) return std::move(checked.error());

  const ClientAddress client = client_address(request, settings_->trusted_proxies);
  auto identity = settings_->identify(request, client, &route, now_ms);
  if (!identity) return std::move(identity.error());
  const auto refuse = [&](Refusal refusal) {
    refusal.user = identity->user.value_or("");
    return refusal;
  };
  if (auto checked = settings_->check_user(*identity); !checked) return std::move(checked.error());
  if (!identity->user && !settings_->options.allow_anonymous) {
    return Refusal{RefusalCode::bad_user,
                   "an anonymous socket belongs to both users of a group, which several nodes "
                   "cannot serve (option cluster); name the user, such as ?user=alice"};
  }
  const Offers offers = subprotocol_offers(request);
  if (offers.v1 && !identity->user) {
    return unauthenticated("waystation.v1 needs a named user, such as ?user=alice");
  }

  if (auto checked = Settings::check_membership(route, identity->user); !checked) {
    return refuse(std::move(checked.error()));
  }

  if (offers.any && !offers.v1) return refuse({RefusalCode::bad_subprotocol});
  // An asker that ends TLS gives a socket without it.
  if (request.is_tls && !request.has_tls_session && request.handed_over == nullptr) {
    return refuse({RefusalCode::tls_unsupported});
  }

  auto permit = limits_->reserve(identity->user.value_or(""), client.address_for_limits());
  if (!permit) return refuse(std::move(permit.error()));

  Admitted admitted;
  if (auto checked = check_handshake(request, &admitted.key); !checked) {
    return refuse(std::move(checked.error()));
  }
  admitted.kind = route.kind;
  admitted.protocol = offers.v1 ? Protocol::v1 : Protocol::plain;
  (route.kind == SocketKind::chat ? admitted.group : admitted.user) = route.name;
  admitted.caller = std::move(identity->user);
  if (offers.v1) admitted.subprotocol = kSubprotocol;
  admitted.expires_at_ms = identity->expires_at_ms;
  admitted.permit = std::move(*permit);
  return admitted;
}

Result<void, Refusal> AdmissionSnapshot::authorize(const Request& request, Scope scope,
                                                   std::int64_t now_ms) const {
  if (auto checked = check_host_and_origin(request); !checked) return checked;
  const ClientAddress client = client_address(request, settings_->trusted_proxies);
  if (settings_->options.auth == Auth::open) {
    if (settings_->is_operator(client)) return {};
    return not_an_operator(client);
  }
  auto identity = settings_->identify(request, client, nullptr, now_ms);
  if (!identity) return std::move(identity.error());
  if (identity->scopes.has(scope)) return {};
  return Settings::name_caller(
      {RefusalCode::missing_scope, "this needs the scope " + std::string(scope_name(scope))},
      *identity);
}

Result<std::optional<std::string>, Refusal> AdmissionSnapshot::authorize_user(
    const Request& request, std::int64_t now_ms) const {
  if (settings_->options.auth == Auth::open) {
    auto allowed = authorize_operator(request);
    if (!allowed) return std::move(allowed.error());
    return std::optional<std::string>();
  }
  if (auto checked = check_host_and_origin(request); !checked) return std::move(checked.error());
  const ClientAddress client = client_address(request, settings_->trusted_proxies);
  auto identity = settings_->identify(request, client, nullptr, now_ms);
  if (!identity) return std::move(identity.error());
  if (auto checked = settings_->check_user(*identity); !checked) return std::move(checked.error());
  return std::move(identity->user);
}

bool AdmissionSnapshot::is_trusted_proxy(const Address& address) const noexcept {
  return settings_->trusted_proxies.contains(address);
}

Result<void, Refusal> AdmissionSnapshot::check_host_and_origin(const Request& request) const {
  return settings_->check_host_and_origin(request);
}

Result<void, Refusal> AdmissionSnapshot::authorize_operator(const Request& request) const {
  if (auto checked = check_host_and_origin(request); !checked) return checked;
  const ClientAddress client = client_address(request, settings_->trusted_proxies);
  if (settings_->is_operator(client)) return {};
  return not_an_operator(client);
}

std::string AdmissionSnapshot::client_of(const Request& request) const {
  const auto client = client_address(request, settings_->trusted_proxies);
  const auto& address = client.address_for_limits();
  return address ? address->to_string() : "unknown";
}

bool AdmissionSnapshot::accepts_tokens() const noexcept {
  return settings_->options.auth == Auth::jwt;
}

Result<RefreshedToken, TokenProblem> AdmissionSnapshot::refresh(std::string_view token,
                                                                std::string_view user,
                                                                std::int64_t now_ms) const {
  if (settings_->options.auth != Auth::jwt) {
    return TokenProblem{"this server does not take tokens (auth)"};
  }
  auto verified = settings_->verify(token, now_ms);
  if (!verified) return std::move(verified.error());
  if (verified->user != user) return TokenProblem{"the token is another user's (sub)"};
  return RefreshedToken{verified->expires_at_ms};
}

std::optional<HttpResponse> AdmissionSnapshot::preflight(const Request& request,
                                                         std::string_view methods) const {
  if (request.method != "OPTIONS" || header_value(request, "Origin").is_none() ||
      header_value(request, "Access-Control-Request-Method").is_none() ||
      !check_host_and_origin(request)) {
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

std::optional<HttpResponse> AdmissionSnapshot::preflight(const Request& request) const {
  const auto target = split_target(request);
  if (!target || !std::holds_alternative<SocketRoute>(parse_socket_route(target->path))) {
    return std::nullopt;
  }
  return preflight(request, "GET");
}

HeaderLines AdmissionSnapshot::cors_headers(const Request& request) const {
  return settings_->cors_headers(request);
}

}  // namespace waystation
