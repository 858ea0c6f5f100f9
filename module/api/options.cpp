#include "api/options.hpp"

#include <algorithm>
#include <cstring>
#include <deque>
#include <iterator>
#include <string>

#include "api/audit.hpp"
#include "api/cluster.hpp"
#include "api/option_table.hpp"
#include "audit/audit.hpp"
#include "relay/node_name.hpp"

namespace waystation {
namespace {

// Maximum size of a frame without the message's value: two users, a group, an id, a time and names.
constexpr std::uint64_t kFrameOverhead = 1024;

std::string_view view_or_empty(const char* text) {
  return text == nullptr ? "" : text;
}

Auth auth_of(int auth) {
  switch (auth) {
    case WAYSTATION_AUTH_JWT:
      return Auth::jwt;
    case WAYSTATION_AUTH_HEADER:
      return Auth::header;
    case WAYSTATION_AUTH_CALLBACK:
      return Auth::callback;
    default:
      return Auth::open;
  }
}

/// A request as the C API has it: with texts that end in NUL.
class RequestStruct {
 public:
  explicit RequestStruct(const Request& request) {
    request_.size = sizeof request_;
    request_.method = keep(request.method);
    request_.target = keep(request.target);
    request_.version = keep(request.version);
    for (const auto& field : request.headers) {
      headers_.push_back({keep(field.name), keep(field.value)});
    }
    request_.headers = headers_.data();
    request_.header_count = headers_.size();
    request_.remote_address = keep(request.remote_address);
    request_.remote_port = request.remote_port;
    request_.local_port = request.local_port;
    request_.is_tls = request.is_tls ? 1 : 0;
    request_.descriptor = -1;
  }
  RequestStruct(const RequestStruct&) = delete;
  RequestStruct& operator=(const RequestStruct&) = delete;

  const waystation_request& get() const noexcept { return request_; }

 private:
  const char* keep(std::string_view text) { return texts_.emplace_back(text).c_str(); }

  std::deque<std::string> texts_;  // whose elements do not move
  std::vector<waystation_header> headers_;
  waystation_request request_{};
};

/// Wraps the host application's function in C++ types.
Identify identify_with(const waystation_options& options) {
  return [identify = options.identify,
          user_data = options.user_data](const Request& request) -> std::optional<Identity> {
    // to_request() set `origin` to the caller's struct. Through a door there is none.
    std::optional<RequestStruct> own;
    const auto* original = static_cast<const waystation_request*>(request.origin);
    if (original == nullptr) original = &own.emplace(request).get();
    waystation_identity answer{};
    answer.size = sizeof answer;
    if (identify(user_data, original, &answer) == 0) return std::nullopt;
    answer.user[sizeof answer.user - 1] = '\0';
    answer.scopes[sizeof answer.scopes - 1] = '\0';
    return Identity{answer.user, Scopes::parse(answer.scopes), answer.expires_at};
  };
}

/// Whether a number or choice is out of range.
bool is_out_of_range(std::uint64_t number, const waystation_option_info& info) {
  if (info.type != WAYSTATION_OPTION_NUMBER && info.type != WAYSTATION_OPTION_CHOICE) return false;
  if (number == 0 && info.zero_allowed != 0) return false;
  return number < info.minimum || number > info.maximum;
}

}  // namespace

std::string text_or_empty(const char* text) {
  return text == nullptr ? "" : text;
}

waystation_options with_defaults(const waystation_options& options) noexcept {
  auto whole = default_options();
  std::memcpy(&whole, &options, std::min(options.size, sizeof whole));
  whole.size = sizeof whole;
  return whole;
}

std::vector<Error> value_errors(const waystation_options& options) {
  std::vector<Error> errors;
  const auto is_wrong = [&](std::string_view option) {
    return std::ranges::find(errors, option, &Error::option) != errors.end();
  };
  for (const auto& info : option_table()) {
    const auto number = number_in(options, info);
    if (!is_out_of_range(number, info)) continue;
    const bool is_choice = info.type == WAYSTATION_OPTION_CHOICE;
    errors.push_back(option_error(
        info.name,
        is_choice ? std::to_string(static_cast<std::int32_t>(number)) : std::to_string(number),
        is_choice ? "unknown value" : "out of range", info.allowed));
  }
  const auto min_queue = options.max_message_bytes + kFrameOverhead;
  if (options.max_queue_bytes < min_queue && !is_wrong("max_message_bytes") &&
      !is_wrong("max_queue_bytes")) {
    errors.push_back(option_error("max_queue_bytes", std::to_string(options.max_queue_bytes),
                                  "too small for a message of max_message_bytes, " +
                                      std::to_string(options.max_message_bytes),
                                  "at least " + std::to_string(min_queue)));
  }
  if (options.max_total_queue_bytes < options.max_queue_bytes && !is_wrong("max_queue_bytes") &&
      !is_wrong("max_total_queue_bytes")) {
    errors.push_back(option_error(
        "max_total_queue_bytes", std::to_string(options.max_total_queue_bytes),
        "smaller than max_queue_bytes", "at least " + std::to_string(options.max_queue_bytes)));
  }
  const auto name = view_or_empty(options.node_name);
  if (!name.empty() && !is_node_name(name)) {
    errors.push_back(option_error("node_name", in_quotes(name), "not a node name",
                                  find_option("node_name")->allowed));
  }
  for (auto& error : check_cluster(options)) errors.push_back(std::move(error));
  return errors;
}

const waystation_options& checked(const waystation_options& options) {
  auto errors = value_errors(options);
  if (!errors.empty()) throw OptionError(std::move(errors.front()));
  return options;
}

std::vector<Error> all_errors(const waystation_options& options) {
  auto errors = value_errors(options);
  auto rules = read_rules(admission_options(options));
  if (!rules) std::ranges::move(rules.error(), std::back_inserter(errors));
  if (auto file = check_audit_file(options); !file) {
    errors.push_back(std::move(file.error()));
  }
  for (auto& error : check_cluster_files(options)) errors.push_back(std::move(error));
  // In the order of the option table, as in the configuration file.
  std::ranges::stable_sort(errors, {},
                           [](const Error& error) { return find_option(error.option); });
  return errors;
}

std::vector<Error> config_warnings(const waystation_options& options) {
  return config_warnings(admission_options(options));
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
  result.allow_anonymous = view_or_empty(options.cluster).empty();
  result.handover_key_file = text_or_empty(options.handover_key_file);
  result.limits = {options.max_connections, options.max_connections_per_user,
                   options.max_connections_per_address};
  if (result.auth == Auth::callback && options.identify != nullptr) {
    result.identify = identify_with(options);
  }
  return result;
}

RelayOptions relay_options(const waystation_options& options) {
  RelayOptions result;
  result.reactor.frames.max_message_bytes = options.max_message_bytes;
  result.reactor.queues = {options.max_queue_bytes, options.max_total_queue_bytes};
  result.reactor.ping_interval_seconds = options.ping_interval_seconds;
  result.reactor.busy_poll_microseconds = options.busy_poll_microseconds;
  result.rate = {options.messages_per_second, options.message_burst};
  result.show_reachable = options.show_reachable != 0;
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
  result.has_tls_session = request.stream != nullptr;
  result.origin = &request;
  if (request.body != nullptr) result.body = {request.body, request.body_size};
  result.body_truncated = request.body_truncated != 0;
  if (request.body == nullptr) result.body_source = {request.read_body, request.body_source};
  return result;
}

}  // namespace waystation
