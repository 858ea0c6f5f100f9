// The C functions: each turns handles into objects and exceptions into statuses, and nothing more.
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

#include "api/guarded.hpp"
#include "api/options.hpp"
#include "api/registry.hpp"
#include "api/relay.hpp"
#include "relay/names.hpp"
#include "waystation/waystation.h"

namespace ws = waystation;
using ws::guarded;
using ws::guarded_with_error;

/// The handle: keeps the relay for as long as the embedder does.
struct waystation_relay {
  std::shared_ptr<ws::Relay> relay;
};

namespace {

/// The part of a request that a caller of another version has, the rest at its default.
waystation_request read_sized(const waystation_request& from) noexcept {
  waystation_request whole{};
  whole.descriptor = -1;
  std::memcpy(&whole, &from, std::min(from.size, sizeof whole));
  return whole;
}

bool is_usable(const waystation_request* request) noexcept {
  if (request == nullptr || request->size < sizeof(std::size_t)) return false;
  const auto whole = read_sized(*request);
  return (whole.headers != nullptr || whole.header_count == 0) &&
         (whole.body != nullptr || whole.body_size == 0);
}

/// Writes a struct to a caller who may have a shorter one, whose size stays as it was.
template <typename T>
void write_sized(T& to, const T& whole) noexcept {
  const auto size = to.size;
  std::memcpy(&to, &whole, std::min(size, sizeof whole));
  to.size = size;
}

waystation_status reply(waystation_response& response, int status, std::string_view bytes) {
  // malloc, since the struct is C's and may outlive this library's allocator of choice.
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): waystation_response_clear frees it
  auto* const copy = static_cast<char*>(std::malloc(bytes.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, bytes.data(), bytes.size());
  copy[bytes.size()] = '\0';  // for callers who treat it as a C string
  response.action = WAYSTATION_REPLY;
  response.status = status;
  response.bytes = copy;
  response.length = bytes.size();
  return WAYSTATION_OK;
}

waystation_status reply_if_any(waystation_response& response, const int& status,
                               const std::variant<ws::NotOurs, std::string>& result) {
  const auto* bytes = std::get_if<std::string>(&result);
  return bytes == nullptr ? WAYSTATION_OK : reply(response, status, *bytes);
}

waystation_status refuse(waystation_response& response, const ws::Refusal& refusal) {
  return reply(response, refusal.status, ws::render(refusal));
}

/// A response's size in the first header that had one. Whoever has less cannot be answered.
constexpr std::size_t kLeastResponseSize =
    offsetof(waystation_response, length) + sizeof(waystation_response::length);

/// What both waystation_upgrade and waystation_http have around their one call of the relay.
template <typename F>
waystation_status answer(std::uint32_t relay_id, const waystation_request* request,
                         waystation_response* response, F&& serve) noexcept {
  if (!is_usable(request) || response == nullptr || response->size < kLeastResponseSize) {
    return WAYSTATION_INVALID;
  }
  // Filled in here and not in the caller's, who may have a shorter one.
  waystation_response whole_response{};
  const auto status = guarded([&] {
    const auto relay = ws::registry::find(relay_id);
    const auto gone = [&] {
      return refuse(whole_response,
                    {503, "stopped", "the relay is not running", {{"Retry-After", "5"}}});
    };
    if (relay == nullptr) return gone();
    const ws::Relay::Use use(*relay);
    if (!use) return gone();
    const auto whole = read_sized(*request);
    std::vector<ws::HeaderField> fields;
    return serve(*relay, ws::to_request(whole, fields), whole, whole_response);
  });
  if (status != WAYSTATION_OK && whole_response.action == WAYSTATION_NOT_OURS) {
    guarded([&] {
      return refuse(whole_response,
                    {500, "internal", "the server could not deal with this request"});
    });
  }
  write_sized(*response, whole_response);
  return status;
}

/// Asks the relay something about a user, and unpacks what it answers.
template <typename Ask, typename Take>
waystation_status ask(waystation_relay* handle, const char* user, std::uint32_t deadline_ms,
                      Ask&& question, Take&& take) noexcept {
  if (handle == nullptr || user == nullptr || !ws::is_user_id(user)) return WAYSTATION_INVALID;
  return guarded([&] {
    auto result = question(handle->relay->service(), std::chrono::milliseconds(deadline_ms));
    if (const auto* problem = std::get_if<ws::CallProblem>(&result)) {
      return *problem == ws::CallProblem::timeout ? WAYSTATION_TIMEOUT : WAYSTATION_STOPPED;
    }
    take(std::get<0>(result));
    return WAYSTATION_OK;
  });
}

}  // namespace

const char* waystation_status_text(waystation_status status) {
  switch (status) {
    case WAYSTATION_OK:
      return "done";
    case WAYSTATION_INVALID:
      return "an argument is not what the function takes";
    case WAYSTATION_EXHAUSTED:
      return "memory, threads or descriptors ran out";
    case WAYSTATION_STOPPED:
      return "the relay is gone";
    case WAYSTATION_TIMEOUT:
      return "the relay did not answer in time";
    case WAYSTATION_INTERNAL:
      return "the library has a defect";
    case WAYSTATION_FAILED:
      return "a file could not be read or written";
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
  waystation_options defaults{};
  defaults.auth = WAYSTATION_AUTH_OPEN;
  defaults.identity_header = "X-Forwarded-User";
  defaults.operators = "127.0.0.0/8,::1";
  defaults.max_connections = 10000;
  defaults.max_connections_per_user = 16;
  defaults.max_connections_per_address = 64;
  defaults.messages_per_second = 50;
  defaults.message_burst = 200;
  defaults.max_message_bytes = 65536;
  defaults.max_queue_bytes = 1 << 20;
  defaults.max_total_queue_bytes = 256 << 20;
  defaults.ping_interval_seconds = 25;
  defaults.audit_retention_days = 30;
  defaults.audit_max_bytes = 64 << 20;
  defaults.descriptor_reserve = 64;
  std::memset(options, 0, size);
  options->size = size;
  write_sized(*options, defaults);
}

waystation_status waystation_new(const waystation_options* options, waystation_relay** relay,
                                 char* error, size_t error_size) {
  if (relay == nullptr) return WAYSTATION_INVALID;
  *relay = nullptr;
  return guarded_with_error(error, error_size, [&] {
    if (options == nullptr || options->size < sizeof(std::size_t)) {
      throw std::invalid_argument("options: a struct filled in by waystation_options_init");
    }
    auto handle = std::make_unique<waystation_relay>();
    const auto id = ws::registry::next_id();
    handle->relay = std::make_shared<ws::Relay>(id, ws::with_defaults(*options));
    ws::registry::insert(id, handle->relay);
    *relay = handle.release();
    return WAYSTATION_OK;
  });
}

waystation_status waystation_reconfigure(waystation_relay* relay, const waystation_options* options,
                                         char* error, size_t error_size) {
  return guarded_with_error(error, error_size, [&] {
    if (relay == nullptr || options == nullptr || options->size < sizeof(std::size_t)) {
      throw std::invalid_argument("a relay and options filled in by waystation_options_init");
    }
    relay->relay->reconfigure(ws::with_defaults(*options));
    return WAYSTATION_OK;
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
    // To wait for the callback that called would be to wait for ever.
    relay->relay->log(
        WAYSTATION_LOG_ERROR,
        "waystation_free was called from a callback of the same relay, which goes on");
    return;
  }
  const std::unique_ptr<waystation_relay> handle(relay);
  guarded([&] {
    ws::registry::take(handle->relay->id());
    handle->relay->stop();
    return WAYSTATION_OK;
  });
}

uint32_t waystation_id(const waystation_relay* relay) {
  return relay == nullptr ? 0 : relay->relay->id();
}

waystation_status waystation_upgrade(uint32_t relay_id, const waystation_request* request,
                                     waystation_response* response) {
  return answer(relay_id, request, response,
                [](ws::Relay& relay, const ws::Request& asked, const waystation_request& whole,
                   waystation_response& answer) {
                  int status = 0;
                  auto result = relay.upgrade(asked, whole.descriptor, &status);
                  if (const auto* bytes = std::get_if<std::string>(&result)) {
                    return reply(answer, status, *bytes);
                  }
                  if (std::holds_alternative<ws::Taken>(result)) {
                    answer.action = WAYSTATION_TAKEN;
                    answer.status = status;
                  }
                  return WAYSTATION_OK;
                });
}

waystation_status waystation_http(uint32_t relay_id, const waystation_request* request,
                                  waystation_response* response) {
  return answer(relay_id, request, response,
                [](ws::Relay& relay, const ws::Request& asked, const waystation_request&,
                   waystation_response& answer) {
                  int status = 0;
                  return reply_if_any(answer, status, relay.http(asked, &status));
                });
}

waystation_status waystation_origin_check(uint32_t relay_id, const waystation_request* request,
                                          waystation_response* response) {
  return answer(relay_id, request, response,
                [](ws::Relay& relay, const ws::Request& asked, const waystation_request&,
                   waystation_response& answer) {
                  int status = 0;
                  return reply_if_any(answer, status, relay.check_origin(asked, &status));
                });
}

int waystation_is_operator(uint32_t relay_id, const waystation_request* request) {
  if (!is_usable(request)) return 0;
  bool is_operator = false;
  guarded([&] {
    const auto relay = ws::registry::find(relay_id);
    if (relay == nullptr) return WAYSTATION_STOPPED;
    const auto whole = read_sized(*request);
    std::vector<ws::HeaderField> fields;
    is_operator = relay->is_operator(ws::to_request(whole, fields));
    return WAYSTATION_OK;
  });
  return is_operator ? 1 : 0;
}

size_t waystation_end_slow_connections(uint32_t relay_id, const uint16_t* ports, size_t port_count,
                                       size_t workers) {
  if (ports == nullptr || workers == 0) return 0;
  std::size_t ended = 0;
  guarded([&] {
    if (const auto relay = ws::registry::find(relay_id)) {
      ended = relay->end_slow_connections({ports, port_count}, workers);
    }
    return WAYSTATION_OK;
  });
  return ended;
}

uint64_t waystation_max_body_bytes(uint32_t relay_id) {
  std::uint64_t bytes = 0;
  guarded([&] {
    if (const auto relay = ws::registry::find(relay_id)) bytes = relay->max_message_bytes();
    return WAYSTATION_OK;
  });
  return bytes;
}

waystation_status waystation_push(waystation_relay* relay, const char* user, const char* json,
                                  size_t length, uint32_t deadline_ms, uint64_t* reached) {
  if (relay == nullptr || json == nullptr || length > relay->relay->max_message_bytes()) {
    return WAYSTATION_INVALID;
  }
  return ask(
      relay, user, deadline_ms,
      [&](ws::RelayService& service, std::chrono::milliseconds deadline) {
        if (!ws::problem_with_json({json, length}).empty()) throw std::invalid_argument("json");
        return service.notify(user, std::string(json, length), deadline);
      },
      [&](std::size_t sockets) {
        if (reached != nullptr) *reached = sockets;
      });
}

waystation_status waystation_presence(waystation_relay* relay, const char* user,
                                      uint32_t deadline_ms, uint64_t* push_sockets,
                                      uint64_t* groups) {
  return ask(
      relay, user, deadline_ms,
      [&](ws::RelayService& service, std::chrono::milliseconds deadline) {
        return service.presence(user, deadline);
      },
      [&](const ws::UserPresence& presence) {
        if (push_sockets != nullptr) *push_sockets = presence.push_sockets;
        if (groups != nullptr) *groups = presence.groups.size();
      });
}

waystation_status waystation_end_sessions(waystation_relay* relay, const char* user,
                                          uint32_t deadline_ms, uint64_t* closed) {
  return ask(
      relay, user, deadline_ms,
      [&](ws::RelayService& service, std::chrono::milliseconds deadline) {
        return service.end_sessions(user, deadline);
      },
      [&](std::size_t sockets) {
        if (closed != nullptr) *closed = sockets;
      });
}

waystation_status waystation_figures_read(const waystation_relay* relay,
                                          waystation_figures* figures) {
  if (relay == nullptr || figures == nullptr || figures->size < sizeof(std::size_t)) {
    return WAYSTATION_INVALID;
  }
  write_sized(*figures, relay->relay->figures());
  return WAYSTATION_OK;
}

waystation_status waystation_refusals_read(const waystation_relay* relay,
                                           int (*take)(void* user_data, const char* code,
                                                       uint64_t count),
                                           void* user_data) {
  return waystation_tally_read(relay, WAYSTATION_TALLY_SOCKETS_REFUSED, take, user_data);
}

waystation_status waystation_tally_read(const waystation_relay* relay, waystation_tally which,
                                        int (*take)(void* user_data, const char* name,
                                                    uint64_t count),
                                        void* user_data) {
  if (relay == nullptr || take == nullptr) return WAYSTATION_INVALID;
  return guarded([&] {
    const auto tally = relay->relay->tally(ws::number_of(which));
    if (!tally) return WAYSTATION_INVALID;
    for (const auto& [name, count] : *tally) {
      if (take(user_data, name, count) == 0) break;
    }
    return WAYSTATION_OK;
  });
}
