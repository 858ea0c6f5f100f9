// waystation-echo PORT [PEM]: sends every message back as it came, text and binary. With a file of
// a certificate and its key it speaks TLS, if it was built with WAYSTATION_ECHO_TLS and a CivetWeb
// that has OpenSSL: tests/integration/tls/run.sh does that.
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

#ifdef WAYSTATION_ECHO_TLS
#include <waystation/civetweb_openssl.h>

#include "api/streams.hpp"
#include "reactor/tls_stream.hpp"
#endif

namespace {

using namespace waystation;

// The largest message of a test suite, and the most that may wait for a slow receiver.
constexpr std::size_t kMaxMessageBytes = std::size_t{32} << 20;

class EchoSession final : public Session {
 public:
  explicit EchoSession(Connection& connection) : connection_(connection) {}

  void on_open() override { connection_.accept(); }
  std::string on_refused() override { return {}; }
  void on_message(Opcode opcode, std::string_view payload) override {
    connection_.send(opcode, {payload});
  }
  void on_heartbeat() override {}
  void on_end() noexcept override {}
  void on_lost(std::uint64_t) noexcept override {}

 private:
  Connection& connection_;
};

std::unique_ptr<Session> make_session(Connection& opened) {
  return std::make_unique<EchoSession>(opened);
}

#ifdef WAYSTATION_ECHO_TLS
void adopt_tls(Reactor& reactor, const mg_connection* connection, AdoptionTarget target,
               std::string response) {
  waystation_stream stream{};
  stream.size = sizeof stream;
  if (waystation_stream_find(connection, &stream) == 0) {
    std::fputs("waystation-echo: no TLS session\n", stderr);
    return;
  }
  auto tls = std::make_unique<TlsStream>();
  const char* problem = nullptr;
  if (!tls->hold(streams::hold(stream, &problem))) {
    std::fprintf(stderr, "waystation-echo: %s\n", problem);
    return;
  }
  target.descriptor = stream.descriptor;
  auto adopted = adopt_gated(target);
  if (!adopted) {
    std::fprintf(stderr, "waystation-echo: %s\n", adopted.error().detail.c_str());
    return;
  }
  auto& [socket, gate] = *adopted;
  tls->swap(socket);
  reactor.adopt(tls, gate, std::move(response), nullptr, make_session,
                [](const char* why) { std::fprintf(stderr, "waystation-echo: %s\n", why); });
}
#endif

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
#ifdef WAYSTATION_ECHO_TLS
  if (request->is_ssl != 0) {
    adopt_tls(reactor, connection, target, switching_protocols(key, {}));
    return 1;
  }
#endif
  auto adopted = adopt_socket(target);
  if (!adopted) {
    std::fprintf(stderr, "waystation-echo: %s\n", adopted.error().detail.c_str());
    return 1;
  }
  reactor.adopt(*adopted, switching_protocols(key, {}), nullptr, make_session);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fputs("usage: waystation-echo PORT [PEM]\n", stderr);
    return 2;
  }
  const char* const pem = argc == 3 ? argv[2] : nullptr;
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

  mg_init_library(pem != nullptr ? MG_FEATURES_SSL : MG_FEATURES_DEFAULT);
#ifdef WAYSTATION_ECHO_TLS
  if (waystation_civetweb_use_openssl(nullptr) != WAYSTATION_OK) return 1;
#endif
  // "s": TLS
  const std::string address = std::string("127.0.0.1:") + argv[1] + (pem != nullptr ? "s" : "");
  const char* settings[] = {"listening_ports", address.c_str(), "num_threads", "8", "tcp_nodelay",
                            "1",
                            // The last, and the end of the list without TLS.
                            pem != nullptr ? "ssl_certificate" : nullptr, pem, nullptr};
  mg_callbacks callbacks{};
  mg_context* context = mg_start(&callbacks, nullptr, settings);
  if (context == nullptr) {
    std::fprintf(stderr, "waystation-echo: cannot listen on %s\n", address.c_str());
    return 1;
  }
  mg_set_websocket_handler(context, "/", on_connect, nullptr, nullptr, nullptr, &reactor);
  mg_server_port port{};
  mg_get_server_ports(context, 1, &port);
  std::printf("waystation-echo: listening on %s://127.0.0.1:%d/\n", pem != nullptr ? "wss" : "ws",
              port.port);
  std::fflush(stdout);

  int signal = 0;
  sigwait(&signals, &signal);
  mg_stop(context);
  reactor.drain(3000);
  reactor.stop();
  mg_exit_library();
  return 0;
}
