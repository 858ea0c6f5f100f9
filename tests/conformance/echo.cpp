// waystation-echo PORT: sends every message back as it came, text and binary.
//
// CivetWeb checks the upgrade and the reactor does the rest, without the relay: a test suite for
// RFC 6455 reaches only our framing. Port 0 lets the system choose; the program prints the port
// when it accepts connections. SIGINT and SIGTERM end it.
#include <civetweb.h>
#include <pthread.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "reactor/adopted_socket.hpp"
#include "reactor/reactor.hpp"
#include "reactor/session.hpp"
#include "websocket/handshake.hpp"

namespace {

using namespace waystation;

// The largest message of a test suite, and the most that may wait for a slow receiver.
constexpr std::size_t kMaxMessageBytes = std::size_t{32} << 20;

class EchoSession final : public Session {
 public:
  explicit EchoSession(Connection& connection) : connection_(connection) {}

  void on_open() override {}
  void on_message(Opcode opcode, std::string_view payload) override {
    connection_.send(opcode, {payload});
  }
  void on_heartbeat() override {}
  void on_end() noexcept override {}
  void on_lost(std::uint64_t) noexcept override {}

 private:
  Connection& connection_;
};

/// CivetWeb has checked version and key. Returns non-zero: CivetWeb must not continue.
int on_connect(const mg_connection* connection, void* user_data) {
  auto& reactor = *static_cast<Reactor*>(user_data);
  const auto* request = mg_get_request_info(connection);
  const char* key = mg_get_header(connection, "Sec-WebSocket-Key");
  if (key == nullptr || !is_valid_key(key)) return 1;
  AdoptionTarget target;
  target.remote_address = request->remote_addr;
  target.remote_port = static_cast<std::uint16_t>(request->remote_port);
  target.local_port = static_cast<std::uint16_t>(request->server_port);
  auto adopted = adopt_socket(target);
  if (!adopted) {
    std::fprintf(stderr, "waystation-echo: %s\n", adopted.error().detail.c_str());
    return 1;
  }
  reactor.adopt(*adopted, switching_protocols(key, {}), nullptr,
                [](Connection& opened) { return std::make_unique<EchoSession>(opened); });
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: waystation-echo PORT\n", stderr);
    return 2;
  }
  // Before any thread starts: threads inherit the mask, so that only sigwait receives these
  // signals.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  ReactorOptions options;
  options.frames = {kMaxMessageBytes, true};
  options.queues = {2 * kMaxMessageBytes, 16 * kMaxMessageBytes};
  Reactor reactor(options);

  mg_init_library(0);
  const std::string address = std::string("127.0.0.1:") + argv[1];
  const char* settings[] = {
      "listening_ports", address.c_str(), "num_threads", "8", "tcp_nodelay", "1", nullptr};
  mg_callbacks callbacks{};
  mg_context* context = mg_start(&callbacks, nullptr, settings);
  if (context == nullptr) {
    std::fprintf(stderr, "waystation-echo: cannot listen on %s\n", address.c_str());
    return 1;
  }
  mg_set_websocket_handler(context, "/", on_connect, nullptr, nullptr, nullptr, &reactor);
  mg_server_port port{};
  mg_get_server_ports(context, 1, &port);
  std::printf("waystation-echo: listening on ws://127.0.0.1:%d/\n", port.port);
  std::fflush(stdout);

  int signal = 0;
  sigwait(&signals, &signal);
  mg_stop(context);
  reactor.drain(3000);
  reactor.stop();
  mg_exit_library();
  return 0;
}
