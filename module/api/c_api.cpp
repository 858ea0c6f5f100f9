// The C functions. Each converts handles into objects, and exceptions into statuses.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "api/cluster.hpp"
#include "api/guarded.hpp"
#include "api/missed.hpp"
#include "api/option_table.hpp"
#include "api/options.hpp"
#include "api/registry.hpp"
#include "api/relay.hpp"
#include "api/stats.hpp"
#include "api/streams.hpp"
#include "base/clock.hpp"
#include "relay/names.hpp"
#include "waystation/waystation.h"

namespace ws = waystation;
using ws::guarded;

/// The handle. It owns the relay until waystation_free().
struct waystation_relay {
  std::shared_ptr<ws::Relay> relay;
};

namespace {

constexpr char kNeedsOptions[] = "options: must not be NULL; call waystation_options_init";

/// A full request from a caller's, which may be of another version. Missing fields have defaults.
waystation_request read_sized(const waystation_request& from) noexcept {
  waystation_request whole{};
  whole.descriptor = -1;
  std::memcpy(&whole, &from, std::min(from.size, sizeof whole));
  return whole;
}

bool is_usable(const waystation_request* request) noexcept {
  if (!ws::is_sized(request)) return false;
  const auto whole = read_sized(*request);
  return (whole.headers != nullptr || whole.header_count == 0) &&
         (whole.body != nullptr || whole.body_size == 0) &&
         (whole.stream == nullptr || ws::streams::is_complete(whole.stream));
}

waystation_status reply(waystation_response& response, int status, std::string_view bytes) {
  // malloc, because the response belongs to a C caller.
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): waystation_response_clear frees it
  auto* const copy = static_cast<char*>(std::malloc(bytes.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, bytes.data(), bytes.size());
  copy[bytes.size()] = '\0';  // for callers that use it as a C string
  response.action = WAYSTATION_REPLY;
  response.status = status;
  response.bytes = copy;
  response.length = bytes.size();
  return WAYSTATION_OK;
}

waystation_status reply(waystation_response& response, const ws::HttpReply& reply_to_send) {
  return reply(response, reply_to_send.status, reply_to_send.bytes);
}

/// Refuses a request without its relay.
waystation_status reply(waystation_response& response, const waystation_request& request,
                        const ws::Refusal& refusal) {
  const char* const method = read_sized(request).method;
  const bool is_head = method != nullptr && std::string_view(method) == "HEAD";
  return reply(response, refusal.status(), ws::render(ws::to_response(refusal), is_head));
}

/// The size of a response in the first version of the header. A smaller struct is invalid.
constexpr std::size_t kMinResponseSize =
    offsetof(waystation_response, length) + sizeof(waystation_response::length);

/// A request that the library works on: its connection is not ended as a slow one, except while the
/// library waits for the client's body.
class ServedRequest {
 public:
  ServedRequest(ws::Relay& relay, const waystation_request& whole)
      : request_(ws::to_request(whole, fields_)),
        serving_(
            relay.slow_connections(),
            ws::parse_ends(request_.remote_address, request_.remote_port, request_.local_port)),
        body_source_(request_.body_source) {
    if (body_source_.read != nullptr) request_.body_source = {read_body, this};
  }
  ServedRequest(const ServedRequest&) = delete;
  ServedRequest& operator=(const ServedRequest&) = delete;

  const ws::Request& get() const noexcept { return request_; }

 private:
  static int read_body(void* opaque, char* buffer, std::size_t size) {
    auto& self = *static_cast<ServedRequest*>(opaque);
    self.serving_.set_waiting(true);
    const int read = self.body_source_.read(self.body_source_.data, buffer, size);
    self.serving_.set_waiting(false);
    return read;
  }

  std::vector<ws::HeaderField> fields_;
  ws::Request request_;
  ws::SlowConnections::Serving serving_;
  const ws::BodySource body_source_;
};

/// The common part of all functions that respond to a request. `serve` calls the relay. Without a
/// relay, paths that are `ours` are refused, and all others declined.
template <typename Ours, typename F>
waystation_status answer(std::uint32_t relay_id, const waystation_request* request,
                         waystation_response* response, Ours&& ours, F&& serve) noexcept {
  if (!is_usable(request) || response == nullptr || response->size < kMinResponseSize) {
    return WAYSTATION_INVALID;
  }
  // Not the caller's struct, which may be shorter.
  waystation_response whole_response{};
  const auto status = guarded([&] {
    const auto whole = read_sized(*request);
    const auto gone = [&] {
      std::vector<ws::HeaderField> fields;
      if (!ours(ws::to_request(whole, fields))) return WAYSTATION_OK;
      return reply(whole_response, whole, ws::Refusal{ws::RefusalCode::stopped});
    };
    const auto relay = ws::registry::find(relay_id);
    if (relay == nullptr) return gone();
    const ws::Relay::Use use(*relay);
    if (!use) return gone();
    const ServedRequest served(*relay, whole);
    return serve(*relay, served.get(), whole, whole_response);
  });
  if (status != WAYSTATION_OK && whole_response.action == WAYSTATION_DECLINED) {
    guarded(
        [&] { return reply(whole_response, *request, ws::Refusal{ws::RefusalCode::internal}); });
  }
  ws::write_sized(*response, whole_response);
  return status;
}

/// Runs `query`, waits for its result, and passes it to `use`, which fills in the caller's
/// `result`.
template <typename Query, typename Use>
waystation_status run_query(waystation_relay* handle, std::uint32_t deadline_ms,
                            waystation_call_result* result, Query&& query, Use&& use) noexcept {
  if (result != nullptr && !ws::is_sized(result)) return WAYSTATION_INVALID;
  return guarded([&] {
    auto found = query(handle->relay->service(), std::chrono::milliseconds(deadline_ms));
    if (!found) {
      return found.error() == ws::CallProblem::timeout ? WAYSTATION_TIMEOUT : WAYSTATION_STOPPED;
    }
    waystation_call_result whole = WAYSTATION_CALL_RESULT_INIT;
    use(*found, whole);
    if (result != nullptr) ws::write_sized(*result, whole);
    return WAYSTATION_OK;
  });
}

/// The same for a query about a user.
template <typename Query, typename Use>
waystation_status run_query(waystation_relay* handle, const char* user, std::uint32_t deadline_ms,
                            waystation_call_result* result, Query&& query, Use&& use) noexcept {
  if (handle == nullptr || user == nullptr || !ws::is_user_id(user)) return WAYSTATION_INVALID;
  return run_query(handle, deadline_ms, result, std::forward<Query>(query), std::forward<Use>(use));
}

void use_count(const ws::SocketCount& count, waystation_call_result& whole) noexcept {
  whole.sockets = count.sockets;
  whole.partial = count.is_partial ? 1 : 0;
}

waystation_status status_of(ws::ErrorCode code) noexcept {
  switch (code) {
    case ws::ErrorCode::audit_off:
      return WAYSTATION_INVALID;
    case ws::ErrorCode::audit_busy:
      return WAYSTATION_EXHAUSTED;
    case ws::ErrorCode::timeout:
      return WAYSTATION_TIMEOUT;
    default:
      return WAYSTATION_FAILED;
  }
}

/// Passes an error to a callback of the caller; false: it wants no more.
template <typename Visit>
bool give(Visit* visit, void* user_data, waystation_log_level severity, waystation_status status,
          const ws::Error& error) {
  waystation_error out = WAYSTATION_ERROR_INIT;
  ws::fail(&out, status, error.message, error.option);
  return visit(user_data, severity, &out) != 0;
}

}  // namespace

const char* waystation_status_text(waystation_status status) {
  switch (status) {
    case WAYSTATION_OK:
      return "done";
    case WAYSTATION_INVALID:
      return "an argument or an option is not allowed";
    case WAYSTATION_EXHAUSTED:
      return "memory, threads or descriptors ran out";
    case WAYSTATION_STOPPED:
      return "the relay is being freed";
    case WAYSTATION_TIMEOUT:
      return "the relay did not answer in time";
    case WAYSTATION_INTERNAL:
      return "an error in the library";
    case WAYSTATION_FAILED:
      return "a file, or a server of the cluster, could not be used";
  }
  return "no such status";
}

const char* waystation_version(void) {
  return WAYSTATION_VERSION;
}

void waystation_response_clear(waystation_response* response) {
  if (response == nullptr) return;
  std::free(response->bytes);  // NOLINT(cppcoreguidelines-owning-memory): this is the owner
  response->bytes = nullptr;
  response->length = 0;
}

void waystation_options_init(waystation_options* options, size_t size) {
  if (options == nullptr || size < sizeof(std::size_t)) return;
  std::memset(options, 0, size);
  options->size = size;
  ws::write_sized(*options, ws::default_options());
}

size_t waystation_option_count(void) {
  return ws::option_table().size();
}

waystation_status waystation_option_at(size_t index, waystation_option_info* info) {
  if (!ws::is_sized(info) || index >= ws::option_table().size()) return WAYSTATION_INVALID;
  ws::write_sized(*info, ws::option_table()[index]);
  return WAYSTATION_OK;
}

waystation_status waystation_options_check(const waystation_options* options,
                                           waystation_error* error) {
  return guarded(error, [&] {
    ws::require(ws::is_sized(options), kNeedsOptions);
    auto errors = ws::all_errors(ws::with_defaults(*options));
    if (!errors.empty()) throw ws::OptionError(std::move(errors.front()));
    return WAYSTATION_OK;
  });
}

waystation_status waystation_options_check_all(const waystation_options* options,
                                               int (*visit)(void* user_data,
                                                            waystation_log_level severity,
                                                            const waystation_error* problem),
                                               void* user_data) {
  if (!ws::is_sized(options) || visit == nullptr) return WAYSTATION_INVALID;
  return guarded([&] {
    const auto whole = ws::with_defaults(*options);
    const auto errors = ws::all_errors(whole);
    const auto result = errors.empty() ? WAYSTATION_OK : WAYSTATION_INVALID;
    for (const auto& error : errors) {
      if (!give(visit, user_data, WAYSTATION_LOG_ERROR, WAYSTATION_INVALID, error)) return result;
    }
    for (const auto& warning : ws::config_warnings(whole)) {
      if (!give(visit, user_data, WAYSTATION_LOG_WARNING, WAYSTATION_OK, warning)) return result;
    }
    return result;
  });
}

waystation_status waystation_cluster_check(
    const waystation_options* options, std::uint32_t deadline_ms,
    int (*visit)(void* user_data, waystation_log_level severity, const waystation_error* finding),
    void* user_data) {
  if (!ws::is_sized(options) || visit == nullptr) return WAYSTATION_INVALID;
  return guarded([&] {
    const auto whole = ws::with_defaults(*options);
    const auto errors = ws::all_errors(whole);
    for (const auto& error : errors) {
      if (!give(visit, user_data, WAYSTATION_LOG_ERROR, WAYSTATION_INVALID, error)) break;
    }
    if (!errors.empty()) return WAYSTATION_INVALID;
    auto result = WAYSTATION_OK;
    const auto findings = ws::try_engines(whole, std::chrono::milliseconds(deadline_ms));
    for (const auto& [severity, error] : findings) {
      if (severity == WAYSTATION_LOG_ERROR) result = WAYSTATION_FAILED;
    }
    for (const auto& [severity, error] : findings) {
      const auto status = severity == WAYSTATION_LOG_ERROR ? WAYSTATION_FAILED : WAYSTATION_OK;
      if (!give(visit, user_data, severity, status, error)) break;
    }
    return result;
  });
}

waystation_status waystation_new(const waystation_options* options, waystation_relay** relay,
                                 waystation_error* error) {
  if (relay != nullptr) *relay = nullptr;
  return guarded(error, [&] {
    ws::require(relay != nullptr, "relay: must not be NULL");
    ws::require(ws::is_sized(options), kNeedsOptions);
    auto handle = std::make_unique<waystation_relay>();
    const auto id = ws::registry::next_id();
    handle->relay = std::make_shared<ws::Relay>(id, ws::checked(ws::with_defaults(*options)));
    ws::registry::insert(id, handle->relay);
    *relay = handle.release();
    return WAYSTATION_OK;
  });
}

waystation_status waystation_reconfigure(waystation_relay* relay, const waystation_options* options,
                                         waystation_error* error) {
  return guarded(error, [&] {
    ws::require(relay != nullptr, "relay: must not be NULL");
    ws::require(ws::is_sized(options), kNeedsOptions);
    relay->relay->reconfigure(ws::with_defaults(*options));
    return WAYSTATION_OK;
  });
}

waystation_status waystation_handover_listen(waystation_relay* relay, int listening_descriptor,
                                             waystation_error* error) {
  return guarded(error, [&] {
    ws::require(relay != nullptr, "relay: must not be NULL");
    return relay->relay->listen(listening_descriptor) ? WAYSTATION_OK : WAYSTATION_STOPPED;
  });
}

waystation_status waystation_drain(waystation_relay* relay, uint32_t deadline_ms) {
  if (relay == nullptr) return WAYSTATION_INVALID;
  return guarded([&] {
    relay->relay->drain(deadline_ms);
    return WAYSTATION_OK;
  });
}

void waystation_free(waystation_relay* relay) {
  if (relay == nullptr) return;
  if (relay->relay->is_in_callback()) {
    // stop() would wait for this callback for ever.
    relay->relay->log(
        WAYSTATION_LOG_ERROR,
        "waystation_free: called from a callback of the same relay; the relay is not freed, call "
        "it from another thread");
    return;
  }
  const std::unique_ptr<waystation_relay> handle(relay);
  guarded([&] {
    ws::registry::remove(handle->relay->id());
    handle->relay->stop();
    return WAYSTATION_OK;
  });
}

uint32_t waystation_id(const waystation_relay* relay) {
  return relay == nullptr ? 0 : relay->relay->id();
}

waystation_status waystation_upgrade(uint32_t relay_id, const waystation_request* request,
                                     waystation_response* response) {
  return answer(relay_id, request, response, ws::is_socket_path,
                [](ws::Relay& relay, const ws::Request& asked, const waystation_request& whole,
                   waystation_response& answer) {
                  const auto result = relay.upgrade(asked, whole.descriptor, whole.stream);
                  if (const auto* refusal = std::get_if<ws::HttpReply>(&result)) {
                    return reply(answer, *refusal);
                  }
                  if (std::holds_alternative<ws::Adopted>(result)) {
                    answer.action = WAYSTATION_ADOPTED;
                    answer.status = std::get<ws::Adopted>(result).status;
                  }
                  return WAYSTATION_OK;
                });
}

waystation_status waystation_http(uint32_t relay_id, const waystation_request* request,
                                  waystation_response* response) {
  return answer(relay_id, request, response, ws::is_api_path,
                [](ws::Relay& relay, const ws::Request& asked, const waystation_request&,
                   waystation_response& answer) {
                  const auto result = relay.http(asked);
                  return result ? reply(answer, *result) : WAYSTATION_OK;
                });
}

waystation_status waystation_origin_check(uint32_t relay_id, const waystation_request* request,
                                          waystation_response* response) {
  const auto none_is_ours = [](const ws::Request&) { return false; };
  return answer(relay_id, request, response, none_is_ours,
                [](ws::Relay& relay, const ws::Request& asked, const waystation_request&,
                   waystation_response& answer) {
                  const auto refused = relay.check_origin(asked);
                  if (refused) return reply(answer, *refused);
                  answer.action = WAYSTATION_ALLOWED;
                  return WAYSTATION_OK;
                });
}

waystation_status waystation_refuse(uint32_t relay_id, int status,
                                    const waystation_request* request,
                                    waystation_response* response) {
  const auto code = ws::code_for_unread_request(status);
  if (!code || !is_usable(request) || response == nullptr || response->size < kMinResponseSize) {
    return WAYSTATION_INVALID;
  }
  waystation_response whole_response{};
  const auto result = guarded([&] {
    const auto whole = read_sized(*request);
    std::vector<ws::HeaderField> fields;
    const auto asked = ws::to_request(whole, fields);
    if (const auto relay = ws::registry::find(relay_id)) {
      if (const ws::Relay::Use use(*relay); use) {
        return reply(whole_response, relay->refuse_unread(asked, *code));
      }
    }
    return reply(whole_response, whole, ws::Refusal{*code});
  });
  ws::write_sized(*response, whole_response);
  return result;
}

int waystation_is_operator(uint32_t relay_id, const waystation_request* request) {
  if (!is_usable(request)) return 0;
  bool is_operator = false;
  guarded([&] {
    const auto relay = ws::registry::find(relay_id);
    if (relay == nullptr) return WAYSTATION_STOPPED;
    const ws::Relay::Use use(*relay);
    if (!use) return WAYSTATION_STOPPED;
    const auto whole = read_sized(*request);
    const ServedRequest served(*relay, whole);
    is_operator = relay->is_operator(served.get());
    return WAYSTATION_OK;
  });
  return is_operator ? 1 : 0;
}

waystation_status waystation_stream_use(const waystation_stream_functions* functions,
                                        waystation_error* error) {
  return guarded(
      error,
      [&] {
        ws::streams::use(functions);
        return WAYSTATION_OK;
      },
      WAYSTATION_FAILED);
}

void waystation_stream_made(const waystation_stream_functions* functions, void* session) {
  ws::streams::made(functions, session);
}

void waystation_stream_gone(const void* session) {
  ws::streams::gone(session);
}

int waystation_stream_find(const void* connection, waystation_stream* stream) {
  return ws::is_sized(stream) && ws::streams::find(connection, *stream) ? 1 : 0;
}

size_t waystation_end_slow_connections(uint32_t relay_id, const uint16_t* ports, size_t port_count,
                                       size_t workers) {
  if (ports == nullptr || workers == 0) return 0;
  std::size_t ended = 0;
  guarded([&] {
    const auto relay = ws::registry::find(relay_id);
    if (relay == nullptr) return WAYSTATION_STOPPED;
    if (const ws::Relay::Use use(*relay); use) {
      ended = relay->end_slow_connections({ports, port_count}, workers);
    }
    return WAYSTATION_OK;
  });
  return ended;
}

uint64_t waystation_max_body_bytes(uint32_t relay_id) {
  std::uint64_t bytes = 0;
  guarded([&] {
    const auto relay = ws::registry::find(relay_id);
    if (relay == nullptr) return WAYSTATION_STOPPED;
    if (const ws::Relay::Use use(*relay); use) bytes = relay->max_message_bytes();
    return WAYSTATION_OK;
  });
  return bytes;
}

waystation_status waystation_push(waystation_relay* relay, const char* user, const char* json,
                                  size_t length, uint32_t deadline_ms,
                                  waystation_call_result* result) {
  if (relay == nullptr || json == nullptr || length > relay->relay->max_message_bytes()) {
    return WAYSTATION_INVALID;
  }
  return run_query(
      relay, user, deadline_ms, result,
      [&](ws::RelayService& service, std::chrono::milliseconds deadline) {
        if (!ws::problem_with_json({json, length}).empty()) throw std::invalid_argument("json");
        return service.notify(user, std::string(json, length), deadline);
      },
      use_count);
}

waystation_status waystation_presence(waystation_relay* relay, const char* user,
                                      uint32_t deadline_ms, waystation_call_result* result) {
  return run_query(
      relay, user, deadline_ms, result,
      [&](ws::RelayService& service, std::chrono::milliseconds deadline) {
        return service.presence(user, deadline);
      },
      [](const ws::UserPresence& presence, waystation_call_result& whole) {
        whole.sockets = presence.push_sockets;
        whole.groups = presence.groups.size();
        whole.partial = presence.is_partial ? 1 : 0;
      });
}

waystation_status waystation_presence_list(waystation_relay* relay, const char* after,
                                           uint32_t limit, uint32_t deadline_ms,
                                           int (*visit)(void* user_data,
                                                        const waystation_user* user),
                                           void* user_data, waystation_call_result* result) {
  const std::string_view first = after == nullptr ? "" : after;
  if (relay == nullptr || visit == nullptr || limit == 0 || limit > ws::UserListing::kMaxLimit ||
      (!first.empty() && !ws::is_user_id(first))) {
    return WAYSTATION_INVALID;
  }
  return run_query(
      relay, deadline_ms, result,
      [&](ws::RelayService& service, std::chrono::milliseconds deadline) {
        return service.list_users(std::string(first), limit, deadline);
      },
      [&](const ws::UserPage& page, waystation_call_result& whole) {
        whole.has_more = page.has_more ? 1 : 0;
        whole.partial = page.is_partial ? 1 : 0;
        for (const auto& listed : page.users) {
          const std::string name(listed.name.view());
          const waystation_user user{sizeof(waystation_user), name.c_str(), listed.push_sockets,
                                     listed.groups, listed.nodes};
          if (visit(user_data, &user) == 0) break;
        }
      });
}

waystation_status waystation_node_list(waystation_relay* relay, uint32_t deadline_ms,
                                       int (*visit)(void* user_data, const waystation_node* node),
                                       void* user_data, waystation_call_result* result) {
  if (relay == nullptr || visit == nullptr) return WAYSTATION_INVALID;
  return run_query(
      relay, deadline_ms, result,
      [&](ws::RelayService& service, std::chrono::milliseconds deadline) {
        return service.list_nodes(deadline);
      },
      [&](const ws::NodeList& list, waystation_call_result& whole) {
        whole.partial = list.is_partial ? 1 : 0;
        const auto now_ms = ws::wall_clock_ms();
        for (const auto& listed : list.nodes) {
          const waystation_node node{sizeof(waystation_node),    listed.name.c_str(),
                                     listed.incarnation.c_str(), listed.is_ready ? 1 : 0,
                                     listed.is_own ? 1 : 0,      now_ms - listed.silent_ms};
          if (visit(user_data, &node) == 0) break;
        }
      });
}

waystation_status waystation_end_sessions(waystation_relay* relay, const char* user,
                                          uint32_t deadline_ms, waystation_call_result* result) {
  return run_query(
      relay, user, deadline_ms, result,
      [&](ws::RelayService& service, std::chrono::milliseconds deadline) {
        return service.end_sessions(user, deadline);
      },
      use_count);
}

waystation_status waystation_missed(
    waystation_relay* relay, const char* user, int64_t since, const char* after,
    uint32_t deadline_ms, int (*visit)(void* user_data, const waystation_missed_sender* sender),
    void* user_data, waystation_missed_result* result, waystation_error* error) {
  std::string_view problem;
  const auto status = ws::guarded(error, [&] {
    ws::require(relay != nullptr && visit != nullptr && ws::is_sized(result),
                "relay, visit, result: must not be NULL; zero result and set its size");
    const auto checked = ws::check_user_id("user", user == nullptr ? "" : user);
    if (!checked) throw std::invalid_argument(checked.error().message);
    ws::MissedQuestion question{since, {}};
    if (after == nullptr) {
      ws::check_since(since);
    } else {
      question.after = ws::MissedCursor::parse(after);
      ws::require(question.after.has_value(), "after: not valid; pass `next` of an earlier answer");
    }
    const auto called = relay->relay->service().missed(user, std::move(question), false,
                                                       std::chrono::milliseconds(deadline_ms));
    if (!called) {
      return called.error() == ws::CallProblem::timeout ? WAYSTATION_TIMEOUT : WAYSTATION_STOPPED;
    }
    const auto& answer = *called;
    if (!answer) {
      problem = answer.error().detail;
      return status_of(answer.error().code);
    }
    ws::give_missed(*answer, visit, user_data, *result);
    return WAYSTATION_OK;
  });
  return problem.empty() ? status : ws::fail(error, status, problem);
}

waystation_status waystation_stats_read(const waystation_relay* relay, waystation_stats* stats) {
  if (relay == nullptr || !ws::is_sized(stats)) return WAYSTATION_INVALID;
  ws::write_sized(*stats, relay->relay->stats());
  return WAYSTATION_OK;
}

size_t waystation_stat_count(void) {
  return ws::stat_table().size();
}

waystation_status waystation_stat_at(size_t index, waystation_stat_info* info) {
  if (!ws::is_sized(info) || index >= ws::stat_table().size()) return WAYSTATION_INVALID;
  ws::write_sized(*info, ws::stat_table()[index]);
  return WAYSTATION_OK;
}

size_t waystation_counter_count(void) {
  return ws::counter_table().size();
}

waystation_status waystation_counter_at(waystation_counter counter, waystation_counter_info* info) {
  const auto number = static_cast<std::size_t>(ws::number_of(counter));
  if (!ws::is_sized(info) || number >= ws::counter_table().size()) return WAYSTATION_INVALID;
  ws::write_sized(*info, ws::counter_table()[number]);
  return WAYSTATION_OK;
}

waystation_status waystation_counter_read(const waystation_relay* relay, waystation_counter counter,
                                          int (*visit)(void* user_data, const char* value,
                                                       uint64_t count),
                                          void* user_data) {
  if (relay == nullptr || visit == nullptr) return WAYSTATION_INVALID;
  return guarded([&] {
    const auto counts = relay->relay->counts(ws::number_of(counter));
    if (!counts) return WAYSTATION_INVALID;
    for (const auto& [value, count] : *counts) {
      if (visit(user_data, value, count) == 0) break;
    }
    return WAYSTATION_OK;
  });
}
