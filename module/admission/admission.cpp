#include "admission/admission.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "admission/host.hpp"
#include "admission/keys.hpp"
#include "admission/token.hpp"
#include "websocket/handshake.hpp"

namespace waystation {
namespace {

constexpr std::string_view kSubprotocol = "waystation.v1";
constexpr std::string_view kBearerEntry = "bearer.";
constexpr std::string_view kTokenCookie = "waystation_token";
constexpr std::string_view kTokenParameter = "access_token";

constexpr std::string_view kAddressesAllowed =
    "; allowed are addresses and blocks such as 192.0.2.7, 10.0.0.0/8 or fd00::/8";

// Of a block that may be somebody's own network: 10.0.0.0/8 and fd00::/8 are the largest there are.
constexpr unsigned kShortestPrefix = 8;

/// A token as it came, or nothing; or why what came cannot be taken.
using FoundToken = std::variant<std::optional<std::string>, Refusal>;

Refusal unauthenticated(std::string detail) {
  return {401, "unauthenticated", std::move(detail)};
}

/// A 401 that names the scheme to use (RFC 6750, section 3).
Refusal bad_token(std::string detail) {
  return {401, "unauthenticated", std::move(detail), {{"WWW-Authenticate", "Bearer"}}};
}

Refusal bad_subject(std::string detail) {
  return {403, "bad_subject", std::move(detail)};
}

Refusal bad_handshake(std::string detail) {
  return {400, "bad_handshake", std::move(detail)};
}

Refusal upgrade_required(std::string detail) {
  return {426,
          "upgrade_required",
          std::move(detail),
          {{"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}}};
}

/// Whether a field name is a token (RFC 9110, section 5.6.2).
bool is_field_name(std::string_view name) noexcept {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

/// What a request offers in all its Sec-WebSocket-Protocol fields (RFC 6455, section 11.3.4).
struct Offers {
  bool any = false;
  bool v1 = false;
};

Offers subprotocol_offers(const Request& request) {
  Offers offers;
  for (const HeaderField& field : request.headers) {
    if (!equal_ignoring_case(field.name, "Sec-WebSocket-Protocol")) continue;
    for_each_token(field.value, [&](std::string_view entry) {
      offers.any = true;
      offers.v1 |= entry == kSubprotocol;
    });
  }
  return offers;
}

/// Whether any field of that name lists `token`.
bool lists_token(const Request& request, std::string_view name, std::string_view token) {
  return std::ranges::any_of(request.headers, [&](const HeaderField& field) {
    return equal_ignoring_case(field.name, name) && has_token(field.value, token);
  });
}

/// Adds what was found in one place to what was found there before.
bool agrees(std::optional<std::string>& found, std::string_view value) {
  if (found && *found != value) return false;
  found = value;
  return true;
}

/// The token of `Authorization: Bearer`. Other schemes are between the client and a proxy.
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

/// The token cookie (RFC 6265, section 4.2). Two that differ: one may have been planted by a
/// neighbouring site, and which one is not ours to guess.
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

/// The last check: the opening handshake itself (RFC 6455, section 4.2.1). Nothing: `*key` is its
/// key.
std::optional<Refusal> check_handshake(const Request& request, std::string* key) {
  if (!lists_token(request, "Upgrade", "websocket")) {
    return upgrade_required(
        "this route speaks WebSocket, and an upgrade would succeed (a proxy in between has to pass "
        "on Upgrade and Connection)");
  }
  if (!lists_token(request, "Connection", "upgrade")) {
    return bad_handshake("Connection does not name Upgrade; a proxy in between has to pass it on");
  }
  if (is_before_http_1_1(request)) {
    return bad_handshake("the handshake needs HTTP/1.1; a proxy in between spoke an older one");
  }
  // What follows the request would be taken for frames.
  const OneValue length = header_value(request, "Content-Length");
  if ((!length.is_none() && length.value != "0") ||
      !header_value(request, "Transfer-Encoding").is_none()) {
    return bad_handshake("the handshake has no body");
  }
  const OneValue version = header_value(request, "Sec-WebSocket-Version");
  if (version.value != "13") {
    return upgrade_required("Sec-WebSocket-Version must be 13");
  }
  const OneValue field = header_value(request, "Sec-WebSocket-Key");
  if (!field.is_one() || !is_valid_key(field.value)) {
    return bad_handshake("there must be one Sec-WebSocket-Key: 16 bytes in base64");
  }
  *key = field.value;
  return std::nullopt;
}

Refusal not_an_operator(const ClientAddress& client) {
  return {403, "not_an_operator",
          client.address
              ? client.address->to_string() + " is not one of operators"
              : "this is for operators, and this request is nobody's: " + client.why_nobody};
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

/// The options in force, read and checked. Immutable.
struct Admission::Settings {
  AdmissionOptions options;
  AddressList trusted_proxies;
  AddressList operators;
  HostRules hosts;
  std::shared_ptr<const KeyRing> keys;

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
    // Where a client gives several, the first of these places counts, and a bad token there is not
    // made good by another elsewhere.
    using Source = FoundToken (*)(const Request&);
    std::vector<Source> sources{token_of_authorization, token_of_subprotocol, token_of_cookie};
    if (options.allow_query_token) sources.push_back(token_of_query);
    for (const Source source : sources) {
      auto found = source(request);
      if (auto* refusal = std::get_if<Refusal>(&found)) return std::move(*refusal);
      const auto& token = std::get<std::optional<std::string>>(found);
      if (!token) continue;
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

std::shared_ptr<const Admission::Settings> Admission::read(AdmissionOptions options) {
  Settings settings;
  settings.trusted_proxies = read_addresses("trusted_proxies", options.trusted_proxies);
  if (settings.trusted_proxies.is_everybody()) {
    throw std::invalid_argument(
        "trusted_proxies holds every address, so that every client could say that it is someone "
        "else; allowed are the addresses of the proxies");
  }
  settings.operators = read_addresses("operators", options.operators);
  settings.hosts = read_hosts(options);
  check_header_options(options);
  if (options.auth == Auth::callback && !options.identify) {
    throw std::invalid_argument("auth = \"callback\" needs the function identify");
  }
  settings.keys = read_keys(options);
  settings.options = std::move(options);
  return std::make_shared<const Settings>(std::move(settings));
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
  admitted.dialect = offers.v1 ? Dialect::v1 : Dialect::plain;
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
