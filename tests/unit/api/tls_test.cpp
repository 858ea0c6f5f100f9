// TLS sessions that the relay takes over from a server, with real OpenSSL and sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/ioctl.h>

#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <waystation/civetweb_openssl.h>

#include "api/streams.hpp"
#include "reactor/reactor.hpp"
#include "support/tls.hpp"
#include "unit/api/embedder.hpp"

namespace waystation::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// The session of a request.
waystation_stream stream_of(const TlsRequest& request) {
  waystation_stream stream{};
  stream.size = sizeof stream;
  if (waystation_stream_find(request.connection, &stream) == 0) stream.functions = nullptr;
  return stream;
}

/// Asks the relay about a request, as the CivetWeb glue does.
std::string ask_relay(std::uint32_t relay, const TlsRequest& request,
                      const waystation_stream& stream, int* action = nullptr) {
  const auto peer = Endpoint::peer_of(request.descriptor);
  const auto address = peer.address();
  const auto query_at = request.target.find('?');
  const auto path = request.target.substr(0, query_at);
  const auto query =
      query_at == std::string::npos ? std::string() : request.target.substr(query_at + 1);
  const std::vector<waystation_header> headers = {
      {"Host", "localhost"},
      {"Connection", "Upgrade"},
      {"Upgrade", "websocket"},
      {"Sec-WebSocket-Version", "13"},
      {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}};
  waystation_request asked{};
  asked.size = sizeof asked;
  asked.method = "GET";
  asked.target = path.c_str();
  asked.query = query.c_str();
  asked.version = "1.1";
  asked.headers = headers.data();
  asked.header_count = headers.size();
  asked.remote_address = address.c_str();
  asked.remote_port = peer.port();
  asked.local_port = Endpoint::local_of(request.descriptor).port();
  asked.is_tls = 1;
  asked.descriptor = -1;
  if (stream.functions != nullptr) asked.stream = &stream;
  waystation_response response{};
  response.size = sizeof response;
  const auto status = waystation_upgrade(relay, &asked, &response);
  if (action != nullptr) *action = status == WAYSTATION_OK ? response.action : -status;
  std::string answer;
  if (response.bytes != nullptr) answer.assign(response.bytes, response.length);
  waystation_response_clear(&response);
  return answer;
}

/// A relay whose sockets come from a TLS server.
class TlsHost {
 public:
  explicit TlsHost(int version, const waystation_options& options = default_options(),
                   int workers = 2, int buffer_bytes = 0)
      : relay_((use(), options)),
        server_(
            version,
            [this](const TlsRequest& request) {
              return ask_relay(relay_.id(), request, stream_of(request));
            },
            workers, buffer_bytes) {}

  Embedded& relay() noexcept { return relay_; }
  TlsServer& server() noexcept { return server_; }
  TlsClient open(const std::string& target, int buffer_bytes = 0) const {
    return server_.open(target, buffer_bytes);
  }

  std::uint64_t refused(const std::string& code) const {
    struct Wanted {
      std::string code;
      std::uint64_t count = 0;
    } wanted{code};
    waystation_counter_read(
        relay_.get(), WAYSTATION_COUNTER_UPGRADES_REFUSED,
        [](void* data, const char* value, std::uint64_t count) {
          auto& to = *static_cast<Wanted*>(data);
          if (to.code == value) to.count = count;
          return 1;
        },
        &wanted);
    return wanted.count;
  }

 private:
  static void use() {
    waystation_error error = WAYSTATION_ERROR_INIT;
    if (waystation_civetweb_use_openssl(&error) != WAYSTATION_OK) {
      throw std::runtime_error(error.message);
    }
  }

  Embedded relay_;
  TlsServer server_;
};

/// What a push socket hears of Embedded::push().
constexpr std::string_view kNotified = R"({"event":{"message":1,"group":null}})";

std::string message_to(const std::string& user, std::size_t size) {
  return R"({"message":")" + std::string(size, 'x') + R"(","to_user":")" + user + R"("})";
}

class Tls : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(, Tls, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& tested) {
                           return tested.param == TLS1_2_VERSION ? "1_2" : "1_3";
                         });

TEST_P(Tls, SocketsAreAdoptedWithTheirSessions) {
  TlsHost host(GetParam());
  auto push = host.open("/push/bob/");
  auto chat = host.open("/ws/chat/alice_bob/?user=alice");
  chat.say(R"({"message":1e400,"to_user":"bob"})");
  EXPECT_EQ(push.hear(), R"({"event":{"message":1e400,"group":"alice_bob"}})");
  auto other = host.open("/ws/chat/alice_bob/?user=bob");
  chat.say(R"({"message":"here","to_user":"bob"})");
  EXPECT_EQ(other.hear(), R"({"message":"here"})");
  EXPECT_EQ(chat.hear(), R"({"message":"here"})");
}

TEST_P(Tls, ASocketHasJoinedBeforeItsClientReadsThe101) {
  TlsHost host(GetParam());
  std::vector<TlsClient> open;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    open.push_back(host.open("/push/bob/"));
    std::uint64_t reached = 0;
    host.relay().push("bob", &reached);
    EXPECT_EQ(reached, i);
  }
}

TEST_P(Tls, RefusalsAreSentThroughTheServersSession) {
  TlsHost host(GetParam());
  auto client = host.server().knock("/ws/chat/bob_alice/?user=alice");
  EXPECT_THAT(client.read_head(), StartsWith("HTTP/1.1 400 "));
}

TEST_P(Tls, RecordsOfOneByteAreRead) {
  TlsHost host(GetParam());
  auto chat = host.open("/ws/chat/alice_bob/?user=alice");
  auto other = host.open("/ws/chat/alice_bob/?user=bob");
  for (const char byte : frame(Opcode::text, message_to("bob", 300))) {
    ASSERT_TRUE(chat.send(std::string_view(&byte, 1)));
  }
  EXPECT_EQ(other.hear(), R"({"message":")" + std::string(300, 'x') + "\"}");
}

TEST_P(Tls, LongMessagesPassInLongRecords) {
  TlsHost host(GetParam());
  auto chat = host.open("/ws/chat/alice_bob/?user=alice");
  auto other = host.open("/ws/chat/alice_bob/?user=bob");
  const std::string value = R"({"message":")" + std::string(60'000, 'y') + R"("})";
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(chat.say(R"({"message":")" + std::string(60'000, 'y') + R"(","to_user":"bob"})"));
    ASSERT_EQ(other.hear(), value);
    ASSERT_EQ(chat.hear(), value);
  }
}

TEST_P(Tls, EveryFrameOfARecordIsRead) {
  auto options = default_options();
  options.messages_per_second = 0;
  TlsHost host(GetParam(), options);
  auto chat = host.open("/ws/chat/alice_bob/?user=alice");
  auto other = host.open("/ws/chat/alice_bob/?user=bob");
  std::string flood;
  constexpr int kMessages = 1000;
  for (int i = 0; i < kMessages; ++i) {
    flood += frame(Opcode::text, R"({"message":)" + std::to_string(i) + R"(,"to_user":"bob"})");
  }
  ASSERT_TRUE(chat.send(flood));
  for (int i = 0; i < kMessages; ++i) {
    ASSERT_EQ(other.hear(), R"({"message":)" + std::to_string(i) + "}");
  }
}

TEST_P(Tls, AClosingHandshakeEndsWithCloseNotify) {
  TlsHost host(GetParam());
  auto push = host.open("/push/bob/");
  push.send(close_frame(1000));
  EXPECT_EQ(push.hear(), "(closed 1000)");
  EXPECT_TRUE(push.is_at_end());
  EXPECT_TRUE(push.got_close_notify());
  EXPECT_TRUE(reads_eof(push.get()));
}

TEST_P(Tls, DrainingSaysGoingAwayAndCloseNotify) {
  TlsHost host(GetParam());
  auto push = host.open("/push/bob/");
  std::thread drain([&] { waystation_drain(host.relay().get(), 20'000); });
  EXPECT_EQ(push.hear(), "(closed 1001)");
  push.send(close_frame(1001));
  EXPECT_TRUE(push.is_at_end());
  EXPECT_TRUE(push.got_close_notify());
  push.vanish();
  drain.join();
}

TEST_P(Tls, ACloseNotifyEndsTheConnectionAndIsAnswered) {
  TlsHost host(GetParam());
  auto push = host.open("/push/bob/");
  push.send_close_notify();
  EXPECT_TRUE(push.is_at_end());
  EXPECT_TRUE(push.got_close_notify());
}

TEST_P(Tls, FramesBeforeACloseNotifyArrive) {
  TlsHost host(GetParam());
  auto other = host.open("/ws/chat/alice_bob/?user=bob");
  auto chat = host.open("/ws/chat/alice_bob/?user=alice");
  chat.say(R"({"message":"last","to_user":"bob"})");
  chat.send_close_notify();
  EXPECT_EQ(other.hear(), R"({"message":"last"})");
}

TEST_P(Tls, AnEndWithoutCloseNotifyIsACut) {
  TlsHost host(GetParam());
  SSL_CTX_set_options(host.server().context(), SSL_OP_IGNORE_UNEXPECTED_EOF);  // the host's choice
  auto push = host.open("/push/bob/");
  push.half_close();  // of TCP
  EXPECT_TRUE(push.is_at_end());
  EXPECT_FALSE(push.got_close_notify()) << "only an end by the rules of TLS is answered";
  EXPECT_TRUE(eventually([&] { return host.relay().stats().push_sockets == 0; }));
}

TEST_P(Tls, BytesThatAreNoRecordEndTheConnectionAndNoOther) {
  TlsHost host(GetParam());
  auto push = host.open("/push/bob/");
  auto broken = host.open("/push/alice/");
  ASSERT_TRUE(send_all(broken.get(), std::string(100, 'x')));
  EXPECT_TRUE(broken.is_at_end());
  host.relay().push("bob");
  EXPECT_EQ(push.hear(), kNotified);
}

TEST_P(Tls, SessionsAreResumed) {
  TlsHost host(GetParam());
  auto first = host.open("/push/alice/");
  std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>> session(SSL_get1_session(first.ssl()));
  auto second = host.server().open("/push/bob/", 0, session.get());
  EXPECT_EQ(SSL_session_reused(second.ssl()), 1);
  host.relay().push("bob");
  EXPECT_EQ(second.hear(), kNotified);
}

// ---- flow control
// ---------------------------------------------------------------------------------

TEST_P(Tls, AStalledReceiverIsClosedAndTheOthersGoOn) {
  auto options = default_options();
  options.messages_per_second = 0;
  options.max_message_bytes = 64 * 1024;
  options.max_queue_bytes = 128 * 1024;
  TlsHost host(GetParam(), options, 2, 8192);
  auto stalled = host.open("/ws/chat/alice_bob/?user=bob", 4096);
  auto chat = host.open("/ws/chat/alice_bob/?user=alice");
  const auto message = message_to("bob", 32 * 1024);
  const auto is_closed = [&] { return host.relay().stats().closed_slow != 0; };
  while (!is_closed()) {
    ASSERT_TRUE(chat.say(message));
    // There is no echo of a message to a user who is not present any more.
    pollfd readable{chat.get(), POLLIN, 0};
    ASSERT_TRUE(eventually([&] { return is_closed() || poll(&readable, 1, 0) == 1; }));
    if (is_closed()) break;
    ASSERT_THAT(chat.hear(), StartsWith(R"({"message":"xxx)"));
  }
  std::string last;
  for (std::string next = stalled.hear(); next.front() == '{'; next = stalled.hear()) last = next;
  EXPECT_FALSE(last.empty());
  EXPECT_THAT(last, testing::EndsWith("x\"}")) << "a message is whole";
}

/// Counts dropped deliveries.
struct Drops {
  std::atomic<int> dropped = 0;
  static void on_event(void* drops, const waystation_event* event) {
    if (event->outcome == WAYSTATION_DROPPED) ++static_cast<Drops*>(drops)->dropped;
  }
};

TEST_P(Tls, WhatTheClientsKernelHasNotIsNotCountedAsDelivered) {
  constexpr int kBatches = 10;
  constexpr int kInBatch = 12;
  constexpr std::size_t kBytes = 1200;
  Drops drops;
  auto options = default_options();
  options.messages_per_second = 0;
  options.user_data = &drops;
  options.on_event = Drops::on_event;
  TlsHost host(GetParam(), options, 2, 8192);
  auto stalled = host.open("/ws/chat/alice_bob/?user=bob", 4096);
  auto chat = host.open("/ws/chat/alice_bob/?user=alice");
  std::string batch;
  for (int i = 0; i < kInBatch; ++i) batch += frame(Opcode::text, message_to("bob", kBytes));
  ASSERT_LT(batch.size(), 16384U) << "one record, and so one write of the relay";
  for (int i = 0; i < kBatches; ++i) {
    ASSERT_TRUE(chat.send(batch));
    for (int k = 0; k < kInBatch; ++k) {
      ASSERT_THAT(chat.hear(), StartsWith(R"({"message":"xxx)"));
    }
  }
  // All that its kernel has, since nothing was read: encrypted bytes are more than plain ones.
  int received = 0;
  ASSERT_EQ(ioctl(stalled.get(), FIONREAD, &received), 0);
  const auto most = static_cast<int>(static_cast<std::size_t>(received) / kBytes);
  const auto all = kBatches * kInBatch;
  ASSERT_LT(most, all - kInBatch) << "the relay's last write was blocked";
  stalled.reset();
  ASSERT_TRUE(eventually([&] { return drops.dropped >= all - most; }, std::chrono::seconds(5)))
      << drops.dropped << " of " << all << " dropped, " << most << " delivered at most";
}

TEST(TlsKeys, KeyUpdatesDuringABlockedWriteLoseNothing) {
  constexpr int kUpdates = 200;
  constexpr int kMessages = 30;
  auto options = default_options();
  options.messages_per_second = 0;
  options.max_queue_bytes = 8 << 20;
  TlsHost host(TLS1_3_VERSION, options, 2, 8192);
  auto stalled = host.open("/ws/chat/alice_bob/?user=bob", 4096);
  auto chat = host.open("/ws/chat/alice_bob/?user=alice");
  const auto text = [](int i) {
    return R"({"message":")" + std::string(40'000, static_cast<char>('a' + i % 26)) + "\"";
  };
  for (int i = 0; i < kMessages; ++i) {
    ASSERT_TRUE(chat.say(text(i) + R"(,"to_user":"bob"})"));
    ASSERT_EQ(chat.hear(), text(i) + "}");
  }
  // The relay's writes to it are blocked now. It reads nothing and asks for new keys.
  for (int i = 0; i < kUpdates; ++i) {
    ASSERT_TRUE(stalled.update_keys());
    if (i % 10 == 0) {
      ASSERT_TRUE(stalled.say(R"({"message":)" + std::to_string(i) + R"(,"to_user":"alice"})"));
      ASSERT_EQ(chat.hear(), R"({"message":)" + std::to_string(i) + "}");
    }
  }
  for (int i = 0; i < kMessages; ++i) ASSERT_EQ(stalled.hear(), text(i) + "}");
  for (int i = 0; i < kUpdates; i += 10) {
    ASSERT_EQ(stalled.hear(), R"({"message":)" + std::to_string(i) + "}");
  }
}

TEST(TlsKeys, KeyUpdatesAreAnsweredOnAnIdleConnection) {
  TlsHost host(TLS1_3_VERSION);
  auto push = host.open("/push/bob/");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(push.update_keys());
    host.relay().push("bob");
    ASSERT_EQ(push.hear(), kNotified);
  }
}

// More answers than the relay holds before it stops reading.
TEST(TlsKeys, AnswersThatTheClientDoesNotReadAreSentWhenItDoes) {
  constexpr int kUpdates = 6000;
  TlsHost host(TLS1_3_VERSION, default_options(), 2, 8192);
  auto push = host.open("/push/bob/", 4096);
  const int room = 1 << 20;  // for all updates: the relay stops reading them
  ASSERT_EQ(setsockopt(push.get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
  int answers = 0;
  SSL_set_msg_callback(push.ssl(), [](int is_sent, int, int type, const void* bytes,
                                      std::size_t size, SSL*, void* count) {
    if (is_sent == 0 && type == SSL3_RT_HANDSHAKE && size > 0 &&
        *static_cast<const unsigned char*>(bytes) == SSL3_MT_KEY_UPDATE) {
      ++*static_cast<int*>(count);
    }
  });
  SSL_set_msg_callback_arg(push.ssl(), &answers);
  for (int i = 0; i < kUpdates; ++i) ASSERT_TRUE(push.update_keys());
  EXPECT_EQ(answers, 0) << "nothing was read";
  // More rounds of the relay's thread than it needs to read them all, 32 at a time.
  for (int i = 0; i < kUpdates / 32 * 2; ++i) {
    waystation_presence(host.relay().get(), "bob", 20'000, nullptr);
  }
  int unread = 0;
  ASSERT_EQ(ioctl(push.get(), TIOCOUTQ, &unread), 0);
  EXPECT_GT(unread, 0) << "the relay reads no more than it can answer";
  SSL_clear_mode(push.ssl(), SSL_MODE_AUTO_RETRY);
  char byte = 0;
  // OpenSSL answers the last one when it has something to write.
  while (answers < kUpdates - 1) {
    pollfd readable{push.get(), POLLIN, 0};
    ASSERT_EQ(poll(&readable, 1, 20'000), 1) << answers << " of " << kUpdates << " answers";
    ASSERT_LE(SSL_read(push.ssl(), &byte, 1), 0);
    ASSERT_EQ(SSL_get_error(push.ssl(), -1), SSL_ERROR_WANT_READ);
  }
  SSL_set_msg_callback(push.ssl(), nullptr);
  SSL_set_mode(push.ssl(), SSL_MODE_AUTO_RETRY);
  host.relay().push("bob");
  EXPECT_EQ(push.hear(), kNotified);
}

TEST(TlsKeys, RenegotiationIsRefused) {
  TlsHost host(TLS1_2_VERSION);
  // The default of OpenSSL 1.1.1, and the host's choice with 3.0.
  SSL_CTX_set_options(host.server().context(), SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
  auto push = host.open("/push/bob/");
  ERR_clear_error();
  ASSERT_EQ(SSL_renegotiate(push.ssl()), 1);
  EXPECT_NE(SSL_do_handshake(push.ssl()), 1);
  EXPECT_EQ(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_NO_RENEGOTIATION);
  ERR_clear_error();
}

// ---- whose session it is
// ---------------------------------------------------------------------------

TEST_P(Tls, NoConnectionGetsTheSessionOfAnother) {
  constexpr int kThreads = 4;
  constexpr int kEach = 100;
  auto options = default_options();
  options.messages_per_second = 0;
  TlsHost host(GetParam(), options, kThreads);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i) {
        const auto user = "u" + std::to_string(thread) + "n" + std::to_string(i);
        auto push = host.open("/push/" + user + "/");
        const auto json = "\"" + user + "\"";
        waystation_push(host.relay().get(), user.c_str(), json.c_str(), json.size(), 20'000,
                        nullptr);
        if (push.hear() != R"({"event":{"message":)" + json + R"(,"group":null}})") ++wrong;
        if (i % 2 == 0) push.reset();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(TlsSession, ASessionOfAnotherConnectionIsRefusedAndGivenBack) {
  std::promise<int> other_descriptor;
  auto descriptor = other_descriptor.get_future().share();
  waystation_civetweb_use_openssl(nullptr);
  const Embedded relay(default_options());
  std::promise<void> done;
  auto finished = done.get_future().share();
  TlsServer server(TLS1_3_VERSION, [&](const TlsRequest& request) -> std::string {
    if (request.target == "/other") {
      other_descriptor.set_value(request.descriptor);
      finished.wait();
      return "HTTP/1.1 200 OK\r\n\r\n";
    }
    auto stream = stream_of(request);
    stream.descriptor = descriptor.get();
    return ask_relay(relay.id(), request, stream);
  });
  auto other = server.knock("/other");
  auto client = server.knock("/push/bob/");
  EXPECT_THAT(client.read_head(), StartsWith("HTTP/1.1 503 ")) << "through the server's session";
  done.set_value();
  EXPECT_THAT(other.read_head(), StartsWith("HTTP/1.1 200 ")) << "the other session is intact";
}

TEST(TlsSession, IsFoundOnlyOnItsThreadAndForItsConnection) {
  waystation_civetweb_use_openssl(nullptr);
  bool found = false, elsewhere = true, for_another = true, gone = false;
  bool before_it_is_freed = false, after_it_is_freed = true;
  TlsServer server(TLS1_3_VERSION, [&](const TlsRequest& request) -> std::string {
    found = stream_of(request).session == request.ssl;
    std::thread([&] { elsewhere = stream_of(request).functions != nullptr; }).join();
    auto another = request;
    another.connection = &found;
    for_another = stream_of(another).functions != nullptr;
    waystation_stream_gone(request.ssl);
    gone = stream_of(request).functions == nullptr;
    // OpenSSL tells of the end of a session. Whatever the connection, this one would be found.
    static const auto any = [] {
      auto functions = *waystation_openssl_functions();
      functions.is_of = [](const void*, const void*) { return 1; };
      return functions;
    }();
    TlsHandle freed(SSL_new(SSL_get_SSL_CTX(request.ssl)));
    waystation_stream_made(&any, freed.get());
    before_it_is_freed = stream_of(request).session == freed.get();
    freed.reset();
    after_it_is_freed = stream_of(request).functions != nullptr;
    return "HTTP/1.1 200 OK\r\n\r\n";
  });
  auto client = server.knock("/");
  EXPECT_THAT(client.read_head(), StartsWith("HTTP/1.1 200 "));
  EXPECT_TRUE(found);
  EXPECT_FALSE(elsewhere);
  EXPECT_FALSE(for_another);
  EXPECT_TRUE(gone);
  EXPECT_TRUE(before_it_is_freed);
  EXPECT_FALSE(after_it_is_freed);
}

TEST(TlsSession, AnUpgradeWithoutASessionGets501ThatSaysWhatToDo) {
  const Embedded relay(default_options());
  TlsServer server(TLS1_3_VERSION, [&](const TlsRequest& request) {
    return ask_relay(relay.id(), request, waystation_stream{});
  });
  auto client = server.knock("/push/bob/");
  EXPECT_THAT(client.read_head(), StartsWith("HTTP/1.1 501 "));
}

TEST(TlsSession, OneThatWasMadeBeforeTheCallIsNotFound) {
  // In a process of its own: another test may have made the call.
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        std::atomic<bool> was_found = true;
        TlsServer server(TLS1_3_VERSION, [&](const TlsRequest& request) -> std::string {
          if (waystation_civetweb_use_openssl(nullptr) != WAYSTATION_OK) std::exit(2);
          was_found = stream_of(request).functions != nullptr;
          return "HTTP/1.1 200 OK\r\n\r\n";
        });
        server.knock("/").read_head();
        server.stop();
        std::exit(was_found ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

TEST(TlsSession, AnIncompleteTableIsRefused) {
  waystation_error error = WAYSTATION_ERROR_INIT;
  EXPECT_EQ(waystation_stream_use(nullptr, &error), WAYSTATION_INVALID);
  auto functions = *waystation_openssl_functions();
  functions.release = nullptr;
  EXPECT_EQ(waystation_stream_use(&functions, &error), WAYSTATION_INVALID);
  EXPECT_THAT(error.message, HasSubstr("all are required"));
  functions = *waystation_openssl_functions();
  functions.size -= sizeof(void*);
  EXPECT_EQ(waystation_stream_use(&functions, &error), WAYSTATION_INVALID);

  const Embedded relay(default_options());
  std::atomic<int> action = 0;
  TlsServer server(TLS1_3_VERSION, [&](const TlsRequest& request) -> std::string {
    const waystation_stream stream{sizeof stream, &functions, request.ssl, request.descriptor};
    int result = 0;
    ask_relay(relay.id(), request, stream, &result);
    action = result;
    return "HTTP/1.1 200 OK\r\n\r\n";
  });
  auto client = server.knock("/push/bob/");
  EXPECT_THAT(client.read_head(), StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(action, -WAYSTATION_INVALID);
}

TEST(TlsSession, OneThatHasEndedIsRefusedWith501) {
  waystation_civetweb_use_openssl(nullptr);
  const char* problem = nullptr;
  bool held = true;
  TlsServer server(TLS1_3_VERSION, [&](const TlsRequest& request) -> std::string {
    SSL_set_shutdown(request.ssl, SSL_RECEIVED_SHUTDOWN);
    held = streams::hold(stream_of(request), &problem) != nullptr;
    SSL_set_shutdown(request.ssl, 0);
    return "HTTP/1.1 200 OK\r\n\r\n";
  });
  EXPECT_THAT(server.knock("/").read_head(), StartsWith("HTTP/1.1 200 "));
  EXPECT_FALSE(held);
  EXPECT_STREQ(problem, "it is not established");
}

// ---- who uses it when
// ------------------------------------------------------------------------------

TEST_P(Tls, AHeldSessionSendsAndReceivesNothingAndCanBeGivenBack) {
  waystation_civetweb_use_openssl(nullptr);
  int written = 0, read = -1, ended = -1;
  bool found = true, found_again = false;
  TlsServer server(GetParam(), [&](const TlsRequest& request) -> std::string {
    const char* problem = nullptr;
    auto session = streams::hold(stream_of(request), &problem);
    if (session == nullptr) return {};
    char byte = 0;
    found = stream_of(request).functions != nullptr;
    written = SSL_write(request.ssl, "lost", 4);
    read = SSL_read(request.ssl, &byte, 1);
    ended = SSL_shutdown(request.ssl);
    ERR_clear_error();
    session->give_back();
    found_again = stream_of(request).session == request.ssl;
    return "HTTP/1.1 200 OK\r\n\r\n";
  });
  auto client = server.knock("/");
  EXPECT_EQ(client.read_head(), "HTTP/1.1 200 OK\r\n\r\n") << "the sequence numbers still agree";
  EXPECT_LE(written, 0);
  EXPECT_EQ(read, 0);
  EXPECT_EQ(ended, 1) << "nothing is left to be said";
  EXPECT_FALSE(found) << "its connection's next user must not get it";
  EXPECT_TRUE(found_again);
}

TEST_P(Tls, TheSessionIsNotUsedBeforeTheServerHasReleasedIt) {
  TlsHost host(GetParam());
  std::promise<void> entered, go;
  host.server().set_end_request([&](const TlsRequest&) {
    entered.set_value();
    go.get_future().wait();
  });
  auto push = host.server().knock("/push/bob/");
  entered.get_future().wait();
  // Answered by the relay's thread, which has got the socket by then.
  waystation_call_result result = WAYSTATION_CALL_RESULT_INIT;
  result.sockets = 1;
  ASSERT_EQ(waystation_presence(host.relay().get(), "bob", 20'000, &result), WAYSTATION_OK);
  EXPECT_EQ(result.sockets, 0U);
  pollfd readable{push.get(), POLLIN, 0};
  EXPECT_EQ(host.relay().stats().upgrades_accepted, 0U);
  go.set_value();
  EXPECT_THAT(push.read_head(), StartsWith("HTTP/1.1 101 "));
  EXPECT_EQ(poll(&readable, 1, 0), 0);
}

TEST_P(Tls, TheServerMayEndFirst) {
  auto host = std::make_unique<TlsHost>(GetParam());
  auto push = host->open("/push/bob/");
  host->server().stop();
  host->relay().push("bob");
  EXPECT_EQ(push.hear(), kNotified);
  push.send(close_frame(1000));
  EXPECT_EQ(push.hear(), "(closed 1000)");
}

TEST_P(Tls, TheRelayMayEndBeforeTheServerReleasesTheSession) {
  TlsHost host(GetParam());
  std::promise<void> entered, go;
  host.server().set_end_request([&](const TlsRequest&) {
    entered.set_value();
    go.get_future().wait();
  });
  auto push = host.server().knock("/push/bob/");
  entered.get_future().wait();
  host.relay().free();
  EXPECT_TRUE(push.is_at_end());
  EXPECT_FALSE(push.got_close_notify());
  go.set_value();
  EXPECT_TRUE(eventually([&] { return host.server().closed() == 1; }));
}

TEST_P(Tls, AServerThatWritesAfterTheUpgradeIsCutOff) {
  TlsHost host(GetParam());
  host.server().set_end_request(
      [](const TlsRequest& request) { (void)!::write(request.descriptor, "x", 1); });
  auto push = host.server().knock("/push/bob/");
  EXPECT_TRUE(push.is_at_end());
  EXPECT_EQ(host.refused("not_adoptable"), 1U);
  EXPECT_EQ(host.relay().stats().upgrades_refused, 1U);
  EXPECT_EQ(host.relay().stats().upgrades_accepted, 0U);
}

TEST_P(Tls, AStoppingRelayRefusesThroughTheServersSession) {
  TlsHost host(GetParam());
  waystation_drain(host.relay().get(), 0);
  auto push = host.server().knock("/push/bob/");
  EXPECT_THAT(push.read_head(), StartsWith("HTTP/1.1 503 "));
}

TEST_P(Tls, DrainingWaitsForASessionThatIsNotReleasedYet) {
  TlsHost host(GetParam());
  std::promise<void> entered, go;
  host.server().set_end_request([&](const TlsRequest&) {
    entered.set_value();
    go.get_future().wait();
  });
  auto push = host.server().knock("/push/bob/");
  entered.get_future().wait();
  std::thread drain([&] { waystation_drain(host.relay().get(), 20'000); });
  // Draining has begun when the relay says so.
  EXPECT_TRUE(eventually([&] {
    Embedded& relay = host.relay();
    int status = 0;
    relay.knock("/push/alice/", "", nullptr, &status);
    return status == 503;
  }));
  go.set_value();
  EXPECT_THAT(push.read_head(), StartsWith("HTTP/1.1 101 "));
  EXPECT_EQ(push.hear(), "(closed 1001)");
  push.send(close_frame(1001));
  push.vanish();
  drain.join();
}

/// A reactor that gets sessions without a relay.
class TlsReactor {
 public:
  explicit TlsReactor(const ReactorOptions& options, Reactor::SessionMaker make_session)
      : reactor_((waystation_civetweb_use_openssl(nullptr), options)),
        make_session_(std::move(make_session)),
        server_(TLS1_3_VERSION, [this](const TlsRequest& request) { return adopt(request); }) {}

  Reactor& reactor() noexcept { return reactor_; }
  TlsServer& server() noexcept { return server_; }
  std::string problem() {
    const std::lock_guard lock(mutex_);
    return problem_;
  }

 private:
  std::string adopt(const TlsRequest& request) {
    const auto stream = stream_of(request);
    const char* problem = nullptr;
    auto tls = std::make_unique<TlsStream>();
    if (!tls->hold(streams::hold(stream, &problem))) return "HTTP/1.1 501 No\r\n\r\n";
    const auto peer = Endpoint::peer_of(request.descriptor);
    const auto address = peer.address();
    auto adopted = adopt_gated({request.descriptor, address, peer.port(), server_.port(), 0});
    auto& gated = *adopted;
    tls->swap(gated.socket);
    if (reactor_.adopt(tls, gated.gate, "HTTP/1.1 101 Yes\r\n\r\n", nullptr, make_session_,
                       [this](ReleaseGate::Problem text) {
                         const std::lock_guard lock(mutex_);
                         problem_ = text;
                       })) {
      return {};
    }
    tls->swap(gated.socket);
    if (!give_back(gated, request.descriptor)) return {};
    tls->session().give_back();
    return "HTTP/1.1 503 Full\r\n\r\n";
  }

  Reactor reactor_;
  Reactor::SessionMaker make_session_;
  std::mutex mutex_;
  std::string problem_;
  TlsServer server_;
};

/// Echoes, and pauses on request.
class Echo final : public Session {
 public:
  explicit Echo(Connection& connection) : connection_(connection) {}
  void on_open() override { connection_.accept(); }
  std::string on_refused() override { return {}; }
  void on_message(Opcode opcode, std::string_view payload) override {
    if (payload == "pause") return connection_.pause_reading(20'000);
    connection_.send(opcode, {payload});
  }
  void on_heartbeat() override {}
  void on_end() noexcept override {}
  void on_lost(std::uint64_t) noexcept override {}

 private:
  Connection& connection_;
};

std::unique_ptr<Session> make_echo(Connection& connection) {
  return std::make_unique<Echo>(connection);
}

TEST(TlsGate, AServerThatNeverFinishesIsGivenUp) {
  ReactorOptions options;
  options.release_patience_ms = 20;
  TlsReactor host(options, make_echo);
  std::promise<void> go;
  host.server().set_end_request([&](const TlsRequest&) { go.get_future().wait(); });
  auto client = host.server().knock("/");
  EXPECT_TRUE(client.is_at_end());
  EXPECT_FALSE(client.got_close_notify());
  EXPECT_EQ(host.problem(), "the web server did not end the request in time");
  go.set_value();
  EXPECT_TRUE(eventually([&] { return host.server().closed() == 1; }));
}

TEST(TlsGate, ASocketThatTheReactorDoesNotTakeIsTheServersAgain) {
  TlsReactor host(ReactorOptions(), make_echo);
  host.reactor().stop();
  auto client = host.server().knock("/");
  EXPECT_EQ(client.read_head(), "HTTP/1.1 503 Full\r\n\r\n");
  EXPECT_TRUE(client.is_at_end());
  EXPECT_TRUE(client.got_close_notify()) << "from the server";
}

TEST(TlsGate, DecryptedBytesAreReadAfterAPause) {
  TlsReactor host(ReactorOptions(), make_echo);
  auto client = host.server().open("/");
  // One record, more than one read takes.
  std::string bytes = frame(Opcode::text, "pause");
  for (int i = 0; i < 1000; ++i) bytes += frame(Opcode::text, std::to_string(i));
  ASSERT_LT(bytes.size(), 16384U);
  ASSERT_TRUE(client.send(bytes));
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(client.hear(), std::to_string(i));
}

TEST(TlsGate, FramesInALaterRecordThanTheRequestAreRead) {
  TlsReactor host(ReactorOptions(), make_echo);
  std::promise<void> sent;
  auto arrived = sent.get_future().share();
  host.server().set_end_request([&](const TlsRequest&) { arrived.wait(); });
  auto client = host.server().knock("/");
  ASSERT_TRUE(client.say("early"));
  sent.set_value();
  EXPECT_THAT(client.read_head(), StartsWith("HTTP/1.1 101 "));
  EXPECT_EQ(client.hear(), "early");
}

TEST(TlsGate, FramesInTheRecordOfTheRequestAreRefused) {
  TlsReactor host(ReactorOptions(), make_echo);
  host.server().set_read_bytes(1);
  auto client = host.server().connect();
  ASSERT_TRUE(client.send("GET / HTTP/1.1\r\n\r\n" + frame(Opcode::text, "early")));
  EXPECT_THAT(client.read_head(), StartsWith("HTTP/1.1 501 "));
}

TEST(TlsGate, AFloodOfKeyUpdatesDoesNotKeepTheThread) {
  TlsReactor host(ReactorOptions(), make_echo);
  auto hostile = host.server().open("/");
  auto other = host.server().open("/");
  std::promise<void> entered, go;
  host.reactor().post([&] {
    entered.set_value();
    go.get_future().wait();
  });
  entered.get_future().wait();
  // All of it is in the kernel before the reactor reads.
  for (int i = 0; i < 500; ++i) {
    ASSERT_EQ(SSL_key_update(hostile.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    ASSERT_EQ(SSL_do_handshake(hostile.ssl()), 1);
  }
  ASSERT_TRUE(hostile.say("last"));
  ASSERT_TRUE(other.say("in between"));
  // Counts the rounds until the flood has been read: a task runs in each.
  std::atomic<int> rounds = 0;
  std::atomic<bool> done = false;
  std::promise<void> ended;
  std::function<void()> count = [&] {
    ++rounds;
    if (done) return ended.set_value();
    host.reactor().post(count);
  };
  host.reactor().post(count);
  go.set_value();
  EXPECT_EQ(other.hear(), "in between");
  EXPECT_EQ(hostile.hear(), "last");
  done = true;
  ended.get_future().wait();
  EXPECT_GE(rounds, 500 / 32) << "32 records in a round";
}

}  // namespace
}  // namespace waystation::test
