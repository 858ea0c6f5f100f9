#include "api/options.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace waystation {
namespace {

// What a frame may have around a message's value: two users, a group, an id, a time and names.
constexpr std::uint64_t kFrameOverhead = 1024;

std::string_view view_or_empty(const char* text) {
  return text == nullptr ? "" : text;
}

[[noreturn]] void refuse(const char* key, std::uint64_t value, const std::string& allowed) {
  throw std::invalid_argument(std::string(key) + " = " + std::to_string(value) + ": " + allowed);
}

Auth auth_of(int auth) {
  switch (auth) {
    case WAYSTATION_AUTH_OPEN:
      return Auth::open;
    case WAYSTATION_AUTH_JWT:
      return Auth::jwt;
    case WAYSTATION_AUTH_HEADER:
      return Auth::header;
    case WAYSTATION_AUTH_CALLBACK:
      return Auth::callback;
    default:
      throw std::invalid_argument("auth = " + std::to_string(auth) +
                                  ": one of the values of waystation_auth");
  }
}

/// The embedder's function, with C++ types around it.
Identify identify_with(const waystation_options& options) {
  return [identify = options.identify,
          user_data = options.user_data](const Request& request) -> std::optional<Identity> {
    // `origin` is the caller's own struct, which to_request put there.
    const auto* original = static_cast<const waystation_request*>(request.origin);
    waystation_identity answer{};
    answer.size = sizeof answer;
    if (identify(user_data, original, &answer) == 0) return std::nullopt;
    answer.user[sizeof answer.user - 1] = '\0';
    answer.scopes[sizeof answer.scopes - 1] = '\0';
    return Identity{answer.user, Scopes::parse(answer.scopes), answer.expires_at};
  };
}

}  // namespace

std::string text_or_empty(const char* text) {
  return text == nullptr ? "" : text;
}

waystation_options with_defaults(const waystation_options& options) {
  waystation_options whole;
  waystation_options_init(&whole, sizeof whole);
  std::memcpy(&whole, &options, std::min(options.size, sizeof whole));
  whole.size = sizeof whole;
  return whole;
}

AdmissionOptions admission_options(const waystation_options& options) {
  AdmissionOptions result;
  result.auth = auth_of(options.auth);
  result.jwt_key_file = text_or_empty(options.jwt_key_file);
  result.jwt_issuer = text_or_empty(options.jwt_issuer);
  result.jwt_audience = split_list(view_or_empty(options.jwt_audience));
  result.identity_header = text_or_empty(options.identity_header);
  result.scopes_header = text_or_empty(options.scopes_header);
  result.trusted_proxies = split_list(view_or_empty(options.trusted_proxies));
  result.allowed_origins = split_list(view_or_empty(options.allowed_origins));
  result.allowed_hosts = split_list(view_or_empty(options.allowed_hosts));
  result.operators = split_list(view_or_empty(options.operators));
  result.allow_open_network = options.allow_open_network != 0;
  result.allow_query_token = options.allow_query_token != 0;
  result.limits = {options.max_connections, options.max_connections_per_user,
                   options.max_connections_per_address};
  if (result.auth == Auth::callback) {
    if (options.identify == nullptr) {
      throw std::invalid_argument("identify = NULL: auth = callback needs a function");
    }
    result.identify = identify_with(options);
  }
  return result;
}

RelayOptions relay_options(const waystation_options& options) {
  constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
  if (options.max_message_bytes == 0 || options.max_message_bytes > most) {
    refuse("max_message_bytes", options.max_message_bytes, "1 to 4294967295");
  }
  const auto least_queue = options.max_message_bytes + kFrameOverhead;
  if (options.max_queue_bytes < least_queue) {
    refuse("max_queue_bytes", options.max_queue_bytes,
           "at least max_message_bytes and " + std::to_string(kFrameOverhead) + " more, " +
               std::to_string(least_queue));
  }
  if (options.max_total_queue_bytes < options.max_queue_bytes) {
    refuse("max_total_queue_bytes", options.max_total_queue_bytes,
           "at least max_queue_bytes, " + std::to_string(options.max_queue_bytes));
  }
  if (options.ping_interval_seconds == 0 || options.ping_interval_seconds > 86400) {
    refuse("ping_interval_seconds", options.ping_interval_seconds, "1 to 86400");
  }
  if (options.busy_poll_microseconds > 1'000'000) {
    refuse("busy_poll_microseconds", options.busy_poll_microseconds, "0 to 1000000");
  }
  RelayOptions result;
  result.reactor.frames.max_message_bytes = options.max_message_bytes;
  result.reactor.queues = {options.max_queue_bytes, options.max_total_queue_bytes};
  result.reactor.ping_interval_seconds = options.ping_interval_seconds;
  result.reactor.busy_poll_microseconds = options.busy_poll_microseconds;
  result.rate = {options.messages_per_second, options.message_burst};
  return result;
}

Request to_request(const waystation_request& request, std::vector<HeaderField>& fields) {
  fields.clear();
  fields.reserve(request.header_count);
  for (std::size_t i = 0; i < request.header_count; ++i) {
    fields.push_back(
        {view_or_empty(request.headers[i].name), view_or_empty(request.headers[i].value)});
  }
  Request result;
  result.method = view_or_empty(request.method);
  result.target = view_or_empty(request.target);
  result.query = view_or_empty(request.query);
  result.version = view_or_empty(request.version);
  result.headers = fields;
  result.remote_address = view_or_empty(request.remote_address);
  result.remote_port = request.remote_port;
  result.local_port = request.local_port;
  result.is_tls = request.is_tls != 0;
  result.origin = &request;
  if (request.body != nullptr) result.body = {request.body, request.body_size};
  result.body_truncated = request.body_truncated != 0;
  if (request.body == nullptr) result.body_source = {request.read_body, request.body_source};
  return result;
}

}  // namespace waystation
