// A minimal host application: it makes a relay with the C interface and hands it sockets as a web
// server does.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/websocket_client.hpp"
#include "waystation/waystation.h"

namespace waystation::test {

inline waystation_options default_options() {
  waystation_options options;
  waystation_options_init(&options, sizeof options);
  options.max_connections_per_address = 0;
  options.max_connections_per_user = 0;
  return options;
}

/// Frees its relay in the destructor.
class Embedded {
 public:
  explicit Embedded(const waystation_options& options) {
    waystation_error error = WAYSTATION_ERROR_INIT;
    if (waystation_new(&options, &relay_, &error) != WAYSTATION_OK) {
      throw std::runtime_error(error.message);
    }
    id_ = waystation_id(relay_);
  }
  ~Embedded() { free(); }
  Embedded(const Embedded&) = delete;
  Embedded& operator=(const Embedded&) = delete;

  waystation_relay* get() const noexcept { return relay_; }
  std::uint32_t id() const noexcept { return id_; }
  void free() { waystation_free(std::exchange(relay_, nullptr)); }
  /// After the relay was freed elsewhere.
  void forget() noexcept { relay_ = nullptr; }

  waystation_stats stats() const {
    waystation_stats stats{};
    stats.size = sizeof stats;
    waystation_stats_read(relay_, &stats);
    return stats;
  }

  /// Sends an upgrade request for `target` on a new connection and leaves the response head unread.
  /// *status is the HTTP status.
  WebSocketClient knock(const std::string& target, const std::string& query = "",
                        const char* subprotocol = nullptr, int* status = nullptr) const {
    WebSocketClient client(connect_to({"127.0.0.1", listener_.port()}));
    const auto server = listener_.accept();
    std::vector<waystation_header> headers = {{"Host", "localhost"},
                                              {"Connection", "Upgrade"},
                                              {"Upgrade", "websocket"},
                                              {"Sec-WebSocket-Version", "13"},
                                              {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}};
    if (subprotocol != nullptr) headers.push_back({"Sec-WebSocket-Protocol", subprotocol});
    const auto peer = Endpoint::peer_of(server.get());
    const auto address = peer.address();
    waystation_request request{};
    request.size = sizeof request;
    request.method = "GET";
    request.target = target.c_str();
    request.query = query.empty() ? nullptr : query.c_str();
    request.version = "1.1";
    request.headers = headers.data();
    request.header_count = headers.size();
    request.remote_address = address.c_str();
    request.remote_port = peer.port();
    request.local_port = listener_.port();
    request.descriptor = -1;
    waystation_response response{};
    response.size = sizeof response;
    waystation_upgrade(id_, &request, &response);
    if (response.action == WAYSTATION_REPLY) {
      send_all(server.get(), {response.bytes, response.length});
    }
    if (status != nullptr) *status = response.status;
    waystation_response_clear(&response);
    return client;
  }

  [[nodiscard]] WebSocketClient open(const std::string& target, const std::string& query = "",
                                     const char* subprotocol = nullptr) const {
    auto client = knock(target, query, subprotocol);
    const auto head = client.read_head();
    if (!head.starts_with("HTTP/1.1 101 ")) throw std::runtime_error(head);
    return client;
  }

  void push(const char* user, std::uint64_t* reached = nullptr) const {
    waystation_call_result result = WAYSTATION_CALL_RESULT_INIT;
    waystation_push(relay_, user, "1", 1, 20'000, &result);
    if (reached != nullptr) *reached = result.sockets;
  }

 private:
  Listener listener_;
  waystation_relay* relay_ = nullptr;
  std::uint32_t id_ = 0;
};

}  // namespace waystation::test
