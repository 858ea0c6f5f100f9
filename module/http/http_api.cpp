#include "http/http_api.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>

#include "base/ascii.hpp"
#include "base/cjson.hpp"
#include "http/audit_call.hpp"
#include "http/body.hpp"
#include "http/missed_call.hpp"
#include "http/nodes_call.hpp"
#include "http/users_call.hpp"
#include "relay/names.hpp"

namespace waystation {
namespace {

using Answer = Result<HttpResponse, Refusal>;

/// Builds a response with a JSON object.
class Object {
 public:
  void add(const char* name, std::string_view text) {
    require(cJSON_AddStringToObject(root_.get(), name, std::string(text).c_str()));
  }
  /// Exact up to 2^53, which no counter reaches.
  void add(const char* name, std::uint64_t number) {
    require(cJSON_AddNumberToObject(root_.get(), name, static_cast<double>(number)));
  }
  void add_true(const char* name) { require(cJSON_AddTrueToObject(root_.get(), name)); }
  void add(const char* name, const std::vector<std::string>& texts) {
    cJSON* const list = require(cJSON_AddArrayToObject(root_.get(), name));
    for (const std::string& text : texts) {
      cJSON_AddItemToArray(list, require(cJSON_CreateString(text.c_str())));
    }
  }

  HttpResponse respond(int status = 200) const {
    return {status, "application/json", print(root_), {}};
  }

 private:
  CJson root_{require(cJSON_CreateObject())};
};

/// The calls of the API.
enum class Call : std::uint8_t { push, presence, users, sessions, nodes, audit, missed, health };

struct Endpoint {
  Call call;
  std::string_view prefix;  // the path up to the user, or the whole path
  std::string_view method;  // GET includes HEAD
  std::string_view allow;
};

constexpr std::array kEndpoints{
    Endpoint{Call::push, "/api/v1/push/", "POST", "POST"},
    Endpoint{Call::presence, "/api/v1/presence/", "GET", "GET, HEAD"},
    Endpoint{Call::users, "/api/v1/presence", "GET", "GET, HEAD"},
    Endpoint{Call::sessions, "/api/v1/sessions/", "DELETE", "DELETE"},
    Endpoint{Call::nodes, "/api/v1/nodes", "GET", "GET, HEAD"},
    Endpoint{Call::audit, "/api/v1/audit", "GET", "GET, HEAD"},
    Endpoint{Call::missed, "/api/v1/missed", "GET", "GET, HEAD"},
    Endpoint{Call::health, "/healthz", "GET", "GET, HEAD"},
};

bool names_user(Call call) noexcept {
  return call == Call::push || call == Call::presence || call == Call::sessions;
}

/// The result of match().
struct Match {
  const Endpoint* endpoint;
  std::string_view user;
};

/// The endpoint of a path, compared byte by byte, with or without the last '/'.
std::optional<Match> match(std::string_view path) noexcept {
  if (path.ends_with('/')) path.remove_suffix(1);
  for (const Endpoint& endpoint : kEndpoints) {
    if (!names_user(endpoint.call)) {
      if (path == endpoint.prefix) return Match{&endpoint, {}};
    } else if (path.starts_with(endpoint.prefix)) {
      const std::string_view user = path.substr(endpoint.prefix.size());
      if (user.find_first_of("/%\\") != std::string_view::npos) return std::nullopt;
      return Match{&endpoint, user};
    }
  }
  return std::nullopt;
}

bool is_ours(std::string_view path) noexcept {
  return path == "/healthz" || path == "/healthz/" || path == "/api" || path.starts_with("/api/");
}

/// Whether the type is JSON in UTF-8. RFC 8259, section 11 defines no `charset`, but clients send
/// it.
bool is_json_type(std::string_view type) noexcept {
  const std::size_t semicolon = type.find(';');
  if (!equal_ignoring_case(without_blanks(type.substr(0, semicolon)), "application/json")) {
    return false;
  }
  while (!type.empty()) {
    type.remove_prefix(std::min(type.find(';'), type.size()));
    if (type.empty()) break;
    type.remove_prefix(1);
    const std::string_view parameter = without_blanks(type.substr(0, type.find(';')));
    if (parameter.empty()) continue;
    if (!equal_ignoring_case(parameter, "charset=utf-8") &&
        !equal_ignoring_case(parameter, "charset=\"utf-8\"")) {
      return false;
    }
  }
  return true;
}

// The time for a whole body.
constexpr std::chrono::seconds kBodyTimeout{10};

Answer push(RelayCalls& relay, const Request& request, std::string_view user) {
  // The body is read before its type is checked: with an unread body the connection cannot end
  // cleanly.
  std::string buffer;
  auto body = read_body(request, {relay.max_message_bytes(), kBodyTimeout}, buffer);
  if (!body) return std::move(body.error());
  const OneValue type = header_value(request, "Content-Type");
  const OneValue encoding = header_value(request, "Content-Encoding");
  if (!type.is_one() || !is_json_type(type.value) ||
      (!encoding.is_none() && !equal_ignoring_case(encoding.value, "identity"))) {
    return Refusal{RefusalCode::unsupported_media_type};
  }
  auto reached = relay.push(user, *body);
  if (!reached) return refusal_of(std::move(reached.error()));
  Object answer;
  answer.add("reached", reached->sockets);
  if (reached->is_partial) answer.add_true("partial");
  return answer.respond();
}

Answer presence(RelayCalls& relay, std::string_view user) {
  auto found = relay.presence(user);
  if (!found) return refusal_of(std::move(found.error()));
  Object answer;
  answer.add("user", user);
  answer.add("push", found->push_sockets);
  answer.add("groups", found->groups);
  if (found->is_partial) answer.add_true("partial");
  return answer.respond();
}

Answer end_sessions(RelayCalls& relay, std::string_view user) {
  auto closed = relay.end_sessions(user);
  if (!closed) return refusal_of(std::move(closed.error()));
  Object answer;
  answer.add("closed", closed->sockets);
  if (closed->is_partial) answer.add_true("partial");
  return answer.respond();
}

Answer health(RelayCalls& relay) {
  const RelayCalls::Health found = relay.health();
  Object answer;
  answer.add("status", std::string_view(found.is_draining ? "draining" : "ok"));
  answer.add("version", found.version);
  answer.add("audit", found.audit);
  if (!found.audit_fault.empty()) answer.add("audit_fault", found.audit_fault);
  for (const auto& [name, value] : found.stats) answer.add(name.c_str(), value);
  // 503, so that a load balancer sends new clients elsewhere.
  return answer.respond(found.is_draining ? 503 : 200);
}

Answer answer(const AdmissionSnapshot& admission, RelayCalls& relay, const Request& request,
              const Match& match, std::string_view query, std::int64_t now_ms) {
  const Endpoint& endpoint = *match.endpoint;
  if (names_user(endpoint.call) && !is_user_id(match.user)) return Refusal{RefusalCode::bad_user};
  const bool is_get = endpoint.method == "GET";
  if (request.method != endpoint.method && !(is_get && request.method == "HEAD")) {
    return Refusal{RefusalCode::method_not_allowed,
                   "the method here is " + std::string(endpoint.allow),
                   {{"Allow", std::string(endpoint.allow)}}};
  }
  if (endpoint.call == Call::missed) {
    return answer_missed(admission, relay, request, query, now_ms);
  }
  const bool is_programs = endpoint.call == Call::push || endpoint.call == Call::presence;
  const Scope scope = is_programs ? Scope::push : Scope::admin;
  if (auto allowed = endpoint.call == Call::health ? admission.authorize_operator(request)
                                                   : admission.authorize(request, scope, now_ms);
      !allowed) {
    return std::move(allowed.error());
  }
  switch (endpoint.call) {
    case Call::push:
      return push(relay, request, match.user);
    case Call::presence:
      return presence(relay, match.user);
    case Call::users:
      return answer_users(relay, query);
    case Call::sessions:
      return end_sessions(relay, match.user);
    case Call::nodes:
      return answer_nodes(relay, now_ms);
    case Call::audit:
      return answer_audit(relay, query);
    default:
      return health(relay);
  }
}

}  // namespace

bool is_api_path(const Request& request) noexcept {
  const auto target = split_target(request);
  return target && is_ours(target->path);
}

Refusal refusal_of(CallFailure failure) {
  switch (failure.cause) {
    case CallFailure::Cause::not_json:
      return {RefusalCode::bad_json, "the body is not JSON: " + failure.problem};
    case CallFailure::Cause::timeout:
      return {RefusalCode::timeout, std::move(failure.problem)};
    case CallFailure::Cause::off:
      return {RefusalCode::audit_off};
    case CallFailure::Cause::failed:
      return {RefusalCode::audit_unavailable, std::move(failure.problem)};
    case CallFailure::Cause::busy:
      return {RefusalCode::audit_busy, std::move(failure.problem)};
    case CallFailure::Cause::too_fast:
      return {RefusalCode::rate_limited, std::move(failure.problem)};
    default:
      return {RefusalCode::stopping};
  }
}

std::variant<Declined, Refusal, HttpResponse> HttpApi::handle(const AdmissionSnapshot& admission,
                                                              const Request& request,
                                                              std::int64_t now_ms) {
  const auto target = split_target(request);
  if (!target || !is_ours(target->path)) return Declined{};
  const auto found = match(target->path);
  if (found) {
    if (auto asked = admission.preflight(request, found->endpoint->allow)) {
      return std::move(*asked);
    }
  }
  auto answered = found ? answer(admission, relay_, request, *found, target->query, now_ms)
                        : Answer(Refusal{RefusalCode::not_found});
  auto& headers = answered ? answered->headers : answered.error().headers;
  for (auto& line : admission.cors_headers(request)) headers.push_back(std::move(line));
  if (answered) return std::move(*answered);
  return std::move(answered.error());
}

std::string render_for(const Request& request, const HttpResponse& response) {
  return render(response, request.method == "HEAD");
}

}  // namespace waystation
