#include "cluster/redis_connection.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "unit/cluster/recorder.hpp"
#include "unit/cluster/redis_server.hpp"
#include "unit/cluster/test_loop.hpp"

namespace waystation::test {
namespace {

using Options = RedisConnection::Options;
using Kind = Options::Kind;

Options subscriptions() {
  auto options = patient();
  options.kind = Kind::subscriptions;
  return options;
}

class RedisConnectionTest : public testing::Test {
 protected:
  TestLoop loop_;
};

// ---- with a real server

TEST_F(RedisConnectionTest, LogsInAndAsks) {
  RedisServer server;
  auto options = patient();
  options.client_name = "relay-1";
  options.database = 3;
  Client client(loop_, {server.host()}, options);
  EXPECT_EQ(client.ask({"PING"}), "(refused)") << "before it is ready";
  ASSERT_TRUE(client.run_until_ready());
  EXPECT_EQ(client.ask({"PING"}), "PONG");
  EXPECT_NE(server.ask({"INFO", "server"}).find(client->run_id()), std::string::npos);
  EXPECT_EQ(client->run_id().size(), 40U);
  EXPECT_FALSE(client->version().empty());
  EXPECT_EQ(client.ask({"CLIENT", "ID"}), client->client_id());
  const auto info = client.ask({"CLIENT", "INFO"});
  EXPECT_NE(info.find("name=relay-1"), std::string::npos);
  EXPECT_NE(info.find("db=3"), std::string::npos);
  EXPECT_EQ(client->server_name(), server.path());
  EXPECT_TRUE(client.recorder.reasons.empty());
}

TEST_F(RedisConnectionTest, RepliesComeInOrder) {
  RedisServer server;
  Client client(loop_, {server.host()});
  ASSERT_TRUE(client.run_until_ready());
  std::vector<std::string> replies;
  std::vector<std::string> expected;
  const std::string big(100'000, 'x');
  for (int i = 0; i < 1000; ++i) {
    const auto text = std::to_string(i) + (i % 100 == 0 ? big : "");
    expected.push_back(text);
    ASSERT_TRUE(client->send({"ECHO", text}, [&](const Reply* reply) {
      ASSERT_NE(reply, nullptr);
      replies.emplace_back(reply->as_text());
    }));
  }
  EXPECT_TRUE(loop_.run_until([&] { return replies.size() == 1000; }));
  EXPECT_EQ(replies, expected);
  EXPECT_EQ(client->out_bytes(), 0U);
  EXPECT_EQ(client->waiting_ms(), 0);
}

TEST_F(RedisConnectionTest, ACallbackMayAskAgain) {
  RedisServer server;
  Client client(loop_, {server.host()});
  ASSERT_TRUE(client.run_until_ready());
  int count = 0;
  RedisConnection::ReplyHandler handler = [&](const Reply* reply) {
    if (reply != nullptr && ++count < 10) client->send({"PING"}, handler);
  };
  client->send({"PING"}, handler);
  EXPECT_TRUE(loop_.run_until([&] { return count == 10; }));
}

TEST_F(RedisConnectionTest, SubscriptionsBringMessagesInOrder) {
  RedisServer server;
  auto options = subscriptions();
  options.heartbeat_ms = 5;
  Client client(loop_, {server.host()}, options);
  ASSERT_TRUE(client.run_until_ready());
  const std::array<std::string_view, 2> channels{"a", "b"};
  ASSERT_TRUE(client->subscribe(channels));
  auto& pushes = client.recorder.pushes;
  ASSERT_TRUE(loop_.run_until([&] { return pushes.size() == 2; }));
  server.ask({"PUBLISH", "b", "1"});
  server.ask({"PUBLISH", "a", "2"});
  ASSERT_TRUE(loop_.run_until([&] { return pushes.size() == 4; }));
  ASSERT_TRUE(client->unsubscribe(std::span(channels).first(1)));
  ASSERT_TRUE(loop_.run_until([&] { return pushes.size() == 5; }));
  EXPECT_EQ(pushes, (std::vector<std::string>{"subscribed a ", "subscribed b ", "message b 1",
                                              "message a 2", "unsubscribed a "}));
  // Heartbeats are answered before and after there is a subscription, and are not pushes.
  const auto heartbeats = client.recorder.round_trips.size();
  EXPECT_TRUE(loop_.run_until([&] { return client.recorder.round_trips.size() > heartbeats; }));
  EXPECT_EQ(pushes.size(), 5U);
  EXPECT_TRUE(client.recorder.reasons.empty());
}

TEST_F(RedisConnectionTest, PasswordsAndUsers) {
  RedisServer server(
      {"--requirepass", "secret", "--user", "relay", "on", ">pass", "~*", "&*", "+@all"});
  auto options = patient();
  options.password = "secret";
  Client by_password(loop_, {server.host()}, options);
  EXPECT_TRUE(by_password.run_until_ready());
  options.user = "relay";
  options.password = "pass";
  Client by_user(loop_, {server.host()}, options);
  EXPECT_TRUE(by_user.run_until_ready());
  EXPECT_EQ(by_user.ask({"ACL", "WHOAMI"}), "relay");

  options.password = "wrong-one";
  Client wrong(loop_, {server.host()}, options);
  ASSERT_TRUE(loop_.run_until([&] { return wrong.recorder.reasons.size() >= 2; }));
  EXPECT_EQ(wrong.recorder.last_reason(),
            server.path() + ": the server refuses the user or password (WRONGPASS)");
  Client none(loop_, {server.host()});
  ASSERT_TRUE(loop_.run_until([&] { return none.recorder.reasons.size() >= 2; }));
  EXPECT_NE(none.recorder.last_reason().find("NOAUTH"), std::string::npos);
  EXPECT_EQ(wrong.recorder.ready + none.recorder.ready, 0);
}

TEST_F(RedisConnectionTest, NoReasonRepeatsAPassword) {
  // A server without the command repeats its arguments in the error.
  RedisServer server({"--rename-command", "AUTH", "LOGIN"});
  Options options;
  options.password = "very-secret";
  Client client(loop_, {server.host()}, options);
  ASSERT_TRUE(loop_.run_until([&] { return !client.recorder.reasons.empty(); }));
  EXPECT_EQ(client.recorder.last_reason(),
            server.path() + ": the server refuses the user or password (ERR)");
}

TEST_F(RedisConnectionTest, AReplicaIsRefused) {
  RedisServer server({"--replicaof", "127.0.0.1 1"});
  Client client(loop_, {server.host()});
  ASSERT_TRUE(loop_.run_until([&] { return !client.recorder.reasons.empty(); }));
  EXPECT_NE(client.recorder.last_reason().find("no primary, its role is \"slave\""),
            std::string::npos);
  server.ask({"REPLICAOF", "NO", "ONE"});
  EXPECT_TRUE(client.run_until_ready()) << "it tries again";
}

TEST_F(RedisConnectionTest, ARestartIsSurvived) {
  RedisServer server;
  Client client(loop_, {server.host()});
  ASSERT_TRUE(client.run_until_ready());
  const auto run_id = client->run_id();
  server.pause();
  int with_null = 0;
  int calls = 0;
  for (int i = 0; i < 3; ++i) {
    client->send({"PING"}, [&](const Reply* reply) {
      ++calls;
      if (reply == nullptr) ++with_null;
      // To send inside is allowed and refused.
      EXPECT_FALSE(client->send({"PING"}, {}));
    });
  }
  loop_.round();
  server.kill();
  ASSERT_TRUE(loop_.run_until([&] { return client.recorder.lost == 1; }));
  EXPECT_EQ(with_null, 3);
  EXPECT_FALSE(client->is_ready());
  EXPECT_EQ(client->server_time_ms(), std::nullopt);
  EXPECT_EQ(client.ask({"PING"}), "(refused)");
  server.start();
  ASSERT_TRUE(client.run_until_ready());
  EXPECT_NE(client->run_id(), run_id);
  EXPECT_EQ(client.ask({"PING"}), "PONG");
  EXPECT_EQ(calls, 3) << "each handler is called once";
}

TEST_F(RedisConnectionTest, AHungServerIsLost) {
  RedisServer server;
  Options options;
  options.reply_timeout_ms = 200;
  options.heartbeat_ms = 50;
  Client client(loop_, {server.host()}, options);
  Options of_subscriptions = options;
  of_subscriptions.kind = Kind::subscriptions;
  Client subscriber(loop_, {server.host()}, of_subscriptions);
  ASSERT_TRUE(client.run_until_ready() && subscriber.run_until_ready());
  server.pause();
  ASSERT_TRUE(
      loop_.run_until([&] { return client.recorder.lost == 1 && subscriber.recorder.lost == 1; }));
  EXPECT_EQ(client.recorder.reasons.front(), "the server does not answer");
  // It still accepts connections, but answers no login.
  options.connect_timeout_ms = 100;
  Client late(loop_, {server.host()}, options);
  ASSERT_TRUE(loop_.run_until([&] { return !late.recorder.reasons.empty(); }));
  EXPECT_EQ(late.recorder.last_reason(), "the server did not answer the login in time");
  server.resume();
  EXPECT_TRUE(client.run_until_ready() && subscriber.run_until_ready() && late.run_until_ready());
}

TEST_F(RedisConnectionTest, AServerThatOnlyPausesIsWaitedFor) {
  RedisServer server;
  Client client(loop_, {server.host()});
  ASSERT_TRUE(client.run_until_ready());
  server.pause();
  std::optional<std::string> answer;
  client->send({"PING"}, [&](const Reply* reply) { answer = reply ? to_line(*reply) : "(lost)"; });
  ASSERT_TRUE(loop_.run_until([&] { return client->waiting_ms() >= 100; }));
  server.resume();
  ASSERT_TRUE(loop_.run_until([&] { return answer.has_value(); }));
  EXPECT_EQ(*answer, "PONG");
}

TEST_F(RedisConnectionTest, TheBufferIsBounded) {
  RedisServer server;
  auto options = patient();
  options.max_out_bytes = 1'000'000;
  Client client(loop_, {server.host()}, options);
  ASSERT_TRUE(client.run_until_ready());
  server.pause();
  const std::string big(10'000, 'x');
  int accepted = 0;
  int answered = 0;
  const auto send = [&] {
    return client->send({"ECHO", big}, [&](const Reply* reply) { answered += reply != nullptr; });
  };
  while (send()) {
    ++accepted;
    ASSERT_LE(client->out_bytes(), 1'000'000U);
    loop_.round();
  }
  EXPECT_GE(accepted, 99);
  EXPECT_EQ(client.recorder.drained, 0);
  server.resume();
  EXPECT_TRUE(loop_.run_until([&] { return client.recorder.drained == 1; }));
  EXPECT_TRUE(send());
  EXPECT_TRUE(loop_.run_until([&] { return answered == accepted + 1; }));
  EXPECT_EQ(client.recorder.drained, 1) << "only after a refusal";
}

TEST_F(RedisConnectionTest, AHungServerIsLostWhenTheBufferIsFull) {
  RedisServer server;
  auto options = subscriptions();
  options.max_out_bytes = 1'000'000;
  options.heartbeat_ms = 500;
  options.reply_timeout_ms = 200;
  Client client(loop_, {server.host()}, options);
  ASSERT_TRUE(client.run_until_ready());
  ASSERT_TRUE(loop_.run_until([&] { return !client.recorder.round_trips.empty(); }));
  server.pause();
  const auto subscribe = [&](std::size_t size) {
    const std::string channel(size, 'x');
    return client->subscribe(std::array<std::string_view, 1>{channel});
  };
  while (subscribe(10'000)) loop_.round();
  // To the last bytes, which a heartbeat would fit in.
  for (std::size_t size = 10'000; size != 0; --size) (void)subscribe(size);
  EXPECT_TRUE(loop_.run_until([&] { return client.recorder.lost == 1; }));
}

TEST_F(RedisConnectionTest, TheServersClockIsNeverAhead) {
  RedisServer server;
  auto options = patient();
  options.heartbeat_ms = 5;
  Client client(loop_, {server.host()}, options);
  ASSERT_TRUE(client.run_until_ready());
  for (std::size_t i = 1; i < 20; ++i) {
    ASSERT_TRUE(loop_.run_until([&] { return client.recorder.round_trips.size() >= i; }));
    const auto estimate = client->server_time_ms();
    ASSERT_TRUE(estimate);
    const auto time = server.ask({"TIME"});  // "[seconds microseconds]"
    const auto ms =
        std::stoll(time.substr(1)) * 1000 + std::stoll(time.substr(time.find(' ') + 1)) / 1000;
    EXPECT_LE(*estimate, ms);
    EXPECT_GE(*estimate, ms - 60'000) << "it is that clock";
  }
  EXPECT_GT(client->round_trip_us(), 0);
}

TEST_F(RedisConnectionTest, AnUnknownScriptLosesTheConnection) {
  RedisServer server;
  Client client(loop_, {server.host()});
  ASSERT_TRUE(client.run_until_ready());
  const std::string sha(40, 'a');
  EXPECT_TRUE(client.ask({"EVALSHA", sha, "0"}).starts_with("(error) NOSCRIPT"));
  EXPECT_EQ(client.recorder.lost, 1);
  EXPECT_NE(client.recorder.last_reason().find("NOSCRIPT"), std::string::npos);
  ASSERT_TRUE(client.run_until_ready());
  EXPECT_TRUE(client.ask({"NO-SUCH-COMMAND"}).starts_with("(error)"));
  EXPECT_EQ(client.recorder.lost, 1) << "other errors are the caller's";
}

TEST_F(RedisConnectionTest, ARefusedSubscriptionLosesTheConnection) {
  RedisServer server(
      {"--user", "relay", "on", ">pass", "~*", "resetchannels", "&allowed", "+@all"});
  auto options = subscriptions();
  options.user = "relay";
  options.password = "pass";
  Client client(loop_, {server.host()}, options);
  ASSERT_TRUE(client.run_until_ready());
  ASSERT_TRUE(client->subscribe(std::array<std::string_view, 1>{"forbidden"}));
  ASSERT_TRUE(loop_.run_until([&] { return client.recorder.lost == 1; }));
  EXPECT_NE(client.recorder.last_reason().find("NOPERM"), std::string::npos);
}

TEST_F(RedisConnectionTest, ReconnectPausesAndTheSecondCallIsAtOnce) {
  RedisServer server;
  RedisConnection::Options options;
  options.min_backoff_ms = options.max_backoff_ms = 1'000'000;
  Client client(loop_, {server.host()}, options);
  ASSERT_TRUE(client.run_until_ready());
  int times = 0;
  client.recorder.when_lost = [&] { ++times; };
  client->reconnect("by hand");
  for (int i = 0; i < 20; ++i) loop_.round();
  EXPECT_FALSE(client->is_ready()) << "a listener that always calls it must not make a busy loop";
  client->reconnect("at once");
  EXPECT_TRUE(client.run_until_ready());
  EXPECT_EQ(times, 1);
  EXPECT_EQ(client.recorder.reasons, (std::vector<std::string>{"by hand"}));
}

TEST_F(RedisConnectionTest, AttemptsThatFailAtOnceDoNotRecurse) {
  Client client(loop_, {{"/" + std::string(200, 'x'), 0}});  // too long for a path
  int depth = 0;
  int deepest = 0;
  client.recorder.when_lost = [&] {
    deepest = std::max(deepest, ++depth);
    if (client.recorder.reasons.size() < 100) client->reconnect("again");
    --depth;
  };
  ASSERT_TRUE(loop_.run_until([&] { return client.recorder.reasons.size() >= 100; }));
  EXPECT_EQ(deepest, 1);
}

TEST_F(RedisConnectionTest, ItsEndCallsTheHandlersAndNotTheListener) {
  RedisServer server;
  Client client(loop_, {server.host()});
  ASSERT_TRUE(client.run_until_ready());
  int with_null = 0;
  client->send({"PING"}, [&](const Reply* reply) { with_null += reply == nullptr; });
  client.destroy();
  EXPECT_EQ(with_null, 1);
  EXPECT_EQ(client.recorder.lost, 0);
  EXPECT_EQ(loop_.timers().size(), 0U);
}

TEST_F(RedisConnectionTest, AByTcpAndByName) {
  RedisServer server({}, free_port());
  Client client(loop_, {{"localhost", server.port()}});
  ASSERT_TRUE(client.run_until_ready());
  EXPECT_EQ(client.ask({"PING"}), "PONG");
  EXPECT_EQ(client->server_name(), "localhost:" + std::to_string(server.port()));
}

// ---- with servers that are none

TEST_F(RedisConnectionTest, NobodyListens) {
  Client client(loop_, {{"127.0.0.1", free_port()}});
  ASSERT_TRUE(loop_.run_until([&] { return client.recorder.reasons.size() >= 3; }));
  EXPECT_NE(client.recorder.last_reason().find("Connection refused"), std::string::npos);
  TemporaryFolder folder;
  Client by_path(loop_, {{folder.path() / "nothing", 0}});
  ASSERT_TRUE(loop_.run_until([&] { return by_path.recorder.reasons.size() >= 3; }));
}

TEST_F(RedisConnectionTest, AConnectionThatIsNeverMade) {
  // A full backlog: the kernel answers no further SYN.
  FileDescriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Endpoint any("127.0.0.1", 0);
  ASSERT_EQ(bind(listener.get(), any.get(), any.size()), 0);
  ASSERT_EQ(listen(listener.get(), 0), 0);
  const auto to = Endpoint::local_of(listener.get());
  std::vector<FileDescriptor> fillers;
  for (int i = 0; i < 8; ++i) {
    auto& filler =
        fillers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    (void)::connect(filler.get(), to.get(), to.size());
  }
  Options options;
  options.connect_timeout_ms = 100;
  Client client(loop_, {{"127.0.0.1", to.port()}}, options);
  ASSERT_TRUE(loop_.run_until([&] { return !client.recorder.reasons.empty(); }));
  EXPECT_EQ(client.recorder.last_reason(), "the connection was not made in time");
}

constexpr std::string_view kLogin =
    ":7\r\n$39\r\n# "
    "Server\r\nredis_version:7\r\nrun_id:abc\r\n\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";

TEST_F(RedisConnectionTest, RepliesMayArriveByteByByte) {
  Listener server;
  Client client(loop_, {{"127.0.0.1", server.port()}});
  loop_.round();
  const auto peer = server.accept();
  for (const char byte : kLogin) {
    ASSERT_TRUE(send_all(peer.get(), std::string_view(&byte, 1)));
    loop_.round();
  }
  ASSERT_TRUE(client.run_until_ready()) << client.recorder.last_reason();
  EXPECT_EQ(client->client_id(), "7");
  EXPECT_EQ(client->run_id(), "abc");
  EXPECT_EQ(client->version(), "7");
}

TEST_F(RedisConnectionTest, GarbageAndUnaskedRepliesLoseTheConnection) {
  for (const auto& [after, reason] :
       {std::pair<std::string_view, std::string_view>(
            "HTTP/1.1 400 Bad Request\r\n", "does not speak Redis' protocol; check host and port"),
        {"+OK\r\n+OK\r\n+OK\r\n", "that nothing asked for"},
        {"*100000000\r\n", "elements"}}) {
    Listener server;
    Client client(loop_, {{"127.0.0.1", server.port()}});
    loop_.round();
    const auto peer = server.accept();
    ASSERT_TRUE(send_all(peer.get(), kLogin));
    ASSERT_TRUE(client.run_until_ready());
    ASSERT_TRUE(send_all(peer.get(), after));
    ASSERT_TRUE(loop_.run_until([&] { return client.recorder.lost == 1; }));
    EXPECT_NE(client.recorder.reasons.front().find(reason), std::string::npos)
        << client.recorder.reasons.front();
  }
}

TEST_F(RedisConnectionTest, AServerThatIsNotRedis) {
  for (const auto answer : {"HTTP/1.1 400 Bad Request\r\n", "-ERR\r\n", ":1\r\n:1\r\n:1\r\n", ""}) {
    Listener server;
    Client client(loop_, {{"127.0.0.1", server.port()}});
    loop_.round();
    auto peer = server.accept();
    ASSERT_TRUE(send_all(peer.get(), answer));
    peer.reset();
    ASSERT_TRUE(loop_.run_until([&] { return !client.recorder.reasons.empty(); })) << answer;
    EXPECT_EQ(client.recorder.ready, 0);
  }
}

}  // namespace
}  // namespace waystation::test
