// The CivetWeb glue in a host application with its own CivetWeb.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <waystation/civetweb.h>

#include "unit/admission/signing.hpp"
#include "unit/api/embedder.hpp"

namespace waystation::test {
namespace {

class Host {
 public:
  Host() {
    static const bool initialized = (mg_init_library(0), true);
    (void)initialized;
    const char* options[] = {"listening_ports",    "127.0.0.1:0", "num_threads", "4",
                             "request_timeout_ms", "5000",        nullptr};
    const mg_callbacks callbacks{};
    context_ = mg_start(&callbacks, nullptr, options);
    if (context_ == nullptr) throw std::runtime_error("CivetWeb does not start");
    mg_server_port ports[1];
    mg_get_server_ports(context_, 1, ports);
    port_ = static_cast<std::uint16_t>(ports[0].port);
  }
  ~Host() { stop(); }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  mg_context* get() const noexcept { return context_; }
  void stop() {
    if (context_ != nullptr) mg_stop(std::exchange(context_, nullptr));
  }

  /// `fields`: additional header lines.
  WebSocketClient ask(const std::string& target, const std::string& fields = "") const {
    WebSocketClient client(connect_to({"127.0.0.1", port_}));
    client.send("GET " + target +
                " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
                fields + "\r\n");
    return client;
  }

  WebSocketClient open(const std::string& target, const std::string& fields = "") const {
    auto client = ask(target, fields);
    const auto head = client.read_head();
    if (!head.starts_with("HTTP/1.1 101 ")) throw std::runtime_error(head);
    return client;
  }

  int status_of(const std::string& target, const std::string& fields = "") const {
    return status_in(ask(target, fields));
  }

  /// For a request without an upgrade: CivetWeb calls no request handler for an upgrade.
  int plain_status_of(const std::string& target, const std::string& fields = "") const {
    WebSocketClient client(connect_to({"127.0.0.1", port_}));
    client.send("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n");
    return status_in(std::move(client));
  }

  /// For HEAD: the status, and whether a body follows.
  std::string head_of(const std::string& target) const {
    WebSocketClient client(connect_to({"127.0.0.1", port_}));
    client.send("HEAD " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const auto head = client.read_head();
    return head.substr(std::min<std::size_t>(head.size(), 9), 3) +
           (client.is_at_end() ? " without a body" : " with a body");
  }

 private:
  static int status_in(WebSocketClient client) {
    const auto head = client.read_head();
    return head.size() < 12 ? 0 : std::stoi(head.substr(9, 3));
  }

  mg_context* context_ = nullptr;
  std::uint16_t port_ = 0;
};

TEST(Civetweb, AdoptsAndServesSockets) {
  const Host host;
  const Embedded relay(default_options());
  ASSERT_EQ(waystation_civetweb_attach(relay.get(), host.get()), 0);
  auto push = host.open("/push/bob/");
  auto chat = host.open("/ws/chat/alice_bob/?user=alice");
  chat.say(R"({"message":1e400,"to_user":"bob"})");
  EXPECT_EQ(push.hear(), R"({"event":{"message":1e400,"group":"alice_bob"}})");
  EXPECT_EQ(host.status_of("/push/"), 400);
  EXPECT_EQ(host.status_of("/ws/chat/bob_alice/?user=alice"), 400);
}

TEST(Civetweb, RefusesNullArguments) {
  const Host host;
  const Embedded relay(default_options());
  EXPECT_EQ(waystation_civetweb_attach(nullptr, host.get()), -1);
  EXPECT_EQ(waystation_civetweb_attach(relay.get(), nullptr), -1);
  EXPECT_EQ(waystation_civetweb_attach_api(nullptr, host.get()), -1);
  EXPECT_EQ(waystation_civetweb_attach_api(relay.get(), nullptr), -1);
}

// CivetWeb's workers have stacks of 100 KiB.
TEST(Civetweb, SurvivesDeeplyNestedTokens) {
  const std::string secret(32, 's');
  Folder folder;
  const std::string keys = folder.file("keys", base64(secret));
  auto options = default_options();
  options.auth = WAYSTATION_AUTH_JWT;
  options.jwt_key_file = keys.c_str();
  options.allow_query_token = 1;
  const Host host;
  const Embedded relay(options);
  waystation_civetweb_attach(relay.get(), host.get());
  waystation_civetweb_attach_api(relay.get(), host.get());

  const std::string target = "/push/bob/";
  const std::string header = R"({"alg":"none"})";
  const std::string claims = R"({"sub":"bob","exp":4000000000})";
  for (const std::string& token :
       {signing_input(with_nested(header, 2000), claims) + ".",
        signing_input(R"({"alg":"HS256"})", with_nested(claims, 2000)) + ".",
        hs256_token(secret, with_nested(claims, 2000))}) {
    const std::string authorization = "Authorization: Bearer " + token + "\r\n";
    EXPECT_EQ(host.status_of(target, authorization), 401);
    EXPECT_EQ(host.status_of(target, "Cookie: waystation_token=" + token + "\r\n"), 401);
    EXPECT_EQ(
        host.status_of(target, "Sec-WebSocket-Protocol: waystation.v1, bearer." + token + "\r\n"),
        401);
    EXPECT_EQ(host.status_of(target + "?access_token=" + token), 401);
    EXPECT_EQ(host.plain_status_of("/api/v1/presence/bob", authorization), 401);
  }
  const std::string good = hs256_token(secret, with_nested(claims, 15));
  auto bob = host.open(target, "Authorization: Bearer " + good + "\r\n");
  relay.push("bob");
  EXPECT_NE(bob.hear().find("event"), std::string::npos);
}

TEST(Civetweb, OpenSocketsOccupyNoWorker) {
  const Host host;
  const Embedded relay(default_options());
  waystation_civetweb_attach(relay.get(), host.get());
  waystation_civetweb_attach_api(relay.get(), host.get());
  std::vector<WebSocketClient> clients;
  for (int i = 0; i < 40; ++i) clients.push_back(host.open("/push/bob/"));  // with four workers
  EXPECT_EQ(host.plain_status_of("/healthz"), 200);
  std::uint64_t reached = 0;
  relay.push("bob", &reached);
  EXPECT_EQ(reached, 40U);
  for (auto& client : clients) EXPECT_NE(client.hear().find("event"), std::string::npos);
}

TEST(Civetweb, HandlersOfAFreedRelayReply503) {
  const Host host;
  {
    Embedded relay(default_options());
    waystation_civetweb_attach(relay.get(), host.get());
    waystation_civetweb_attach_api(relay.get(), host.get());
    auto bob = host.open("/push/bob/");
    relay.free();
    EXPECT_EQ(bob.hear(), "(eof)");
  }
  EXPECT_EQ(host.status_of("/push/bob/"), 503);
  EXPECT_EQ(host.status_of("/ws/chat/alice_bob/"), 503);
  EXPECT_EQ(host.plain_status_of("/healthz"), 503);
  EXPECT_EQ(host.plain_status_of("/api/v1/presence/bob"), 503);
  EXPECT_EQ(host.head_of("/push/bob/"), "503 without a body");
  EXPECT_EQ(host.head_of("/healthz"), "503 without a body");
}

TEST(Civetweb, HeadGetsNoBodyFromTheGlue) {
  const Host host;
  mg_set_request_handler(
      host.get(), "/elsewhere",
      [](mg_connection* connection, void*) { return waystation_civetweb_refuse(connection, 404); },
      nullptr);
  EXPECT_EQ(host.plain_status_of("/elsewhere"), 404);
  EXPECT_EQ(host.head_of("/elsewhere"), "404 without a body");
}

TEST(Civetweb, AttachesAndDetachesRepeatedly) {
  const Host host;
  { const Embedded warm_up(default_options()); }
  host.status_of("/");
  const auto before = open_descriptors();
  std::uint32_t last_id = 0;
  for (int i = 0; i < 100; ++i) {
    Embedded relay(default_options());
    ASSERT_GT(relay.id(), last_id);
    last_id = relay.id();
    waystation_civetweb_attach(relay.get(), host.get());
    auto bob = host.open("/push/bob/");
    std::uint64_t reached = 0;
    relay.push("bob", &reached);
    ASSERT_EQ(reached, 1U);
    ASSERT_NE(bob.hear().find("event"), std::string::npos);
    if (i % 10 == 0) {
      relay.free();
      ASSERT_EQ(host.status_of("/push/bob/"), 503);
    }
  }
  EXPECT_TRUE(eventually([&] { return open_descriptors() <= before + kKeptDescriptors; }))
      << open_descriptors() << " now, " << before << " before";
}

TEST(Civetweb, ServerMayStopBeforeOrAfterTheRelay) {
  for (const bool host_first : {true, false}) {
    Host host;
    Embedded relay(default_options());
    waystation_civetweb_attach(relay.get(), host.get());
    auto bob = host.open("/push/bob/");
    if (host_first) {
      host.stop();
      // Its sockets no longer belong to CivetWeb.
      relay.push("bob");
      EXPECT_NE(bob.hear().find("event"), std::string::npos);
    }
    relay.free();
    EXPECT_EQ(bob.hear(), "(eof)");
    host.stop();
  }
}

TEST(Civetweb, RelayMayBeFreedDuringUpgrades) {
  const Host host;
  for (int round = 0; round < 10; ++round) {
    Embedded relay(default_options());
    waystation_civetweb_attach(relay.get(), host.get());
    std::atomic<bool> done = false;
    std::atomic<int> opened = 0, wrong = 0;
    std::vector<std::thread> clients;
    for (int t = 0; t < 3; ++t) {
      clients.emplace_back([&] {
        while (!done) {
          const auto head = host.ask("/push/bob/").read_head();
          if (head.starts_with("HTTP/1.1 101 ")) {
            ++opened;
          } else if (!head.empty() && !head.starts_with("HTTP/1.1 503 ")) {
            ++wrong;
          }
        }
      });
    }
    EXPECT_TRUE(eventually([&] { return opened > 20; }));
    relay.free();
    EXPECT_TRUE(eventually([&] { return host.status_of("/push/bob/") == 503; }));
    done = true;
    for (auto& client : clients) client.join();
    EXPECT_EQ(wrong, 0);
  }
}

}  // namespace
}  // namespace waystation::test
