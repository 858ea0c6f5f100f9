#include "cluster/sentinel.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "unit/cluster/recorder.hpp"
#include "unit/cluster/redis_server.hpp"
#include "unit/cluster/test_loop.hpp"

namespace waystation::test {
namespace {

class SentinelTest : public testing::Test {
 protected:
  std::unique_ptr<EngineLocator> locator(std::vector<EngineHost> sentinels,
                                         const std::string& name = "main") {
    EngineAddress address;
    address.hosts = std::move(sentinels);
    address.primary_name = name;
    return make_locator(loop_, resolver_, address);
  }

  TestLoop loop_;
  Resolver resolver_{loop_};
};

TEST_F(SentinelTest, FollowsAFailover) {
  RedisServer first({}, free_port());
  RedisServer second({"--replicaof", "127.0.0.1 " + std::to_string(first.port())}, free_port());
  // Sentinel asks the primary for its replicas when it starts, and then each 10 s.
  ASSERT_TRUE(eventually([&] {
    return first.ask({"INFO", "replication"}).find("state=online") != std::string::npos;
  }));
  SentinelServer sentinel(first.port());
  ASSERT_TRUE(eventually([&] {
    return sentinel.ask({"SENTINEL", "replicas", "main"}).find("master-link-status ok") !=
           std::string::npos;
  }));

  // The first Sentinel of the list is not there.
  const auto found = locator({{"127.0.0.1", free_port()}, sentinel.host()});
  ConnectionRecorder recorder;
  std::optional<RedisConnection> connection;
  // Only Sentinel's report ends the first connection.
  connection.emplace(loop_, *found, patient(), recorder);
  connection->start();
  ASSERT_TRUE(loop_.run_until([&] { return connection->is_ready(); }));
  EXPECT_EQ(connection->server_name(), "127.0.0.1:" + std::to_string(first.port()));

  ASSERT_EQ(sentinel.ask({"SENTINEL", "SET", "main", "down-after-milliseconds", "300"}), "OK");
  first.pause();
  ASSERT_TRUE(loop_.run_until([&] { return recorder.ready == 2; }))
      << testing::PrintToString(recorder.reasons);
  EXPECT_EQ(connection->server_name(), "127.0.0.1:" + std::to_string(second.port()));
  EXPECT_NE(std::find(recorder.reasons.begin(), recorder.reasons.end(), "the primary has moved"),
            recorder.reasons.end());

  // The old primary returns and still calls itself one: nobody goes back to it.
  first.resume();
  ASSERT_TRUE(first.ask({"ROLE"}).starts_with("[master"));
  connection->reconnect("to look again");
  ASSERT_TRUE(loop_.run_until([&] { return recorder.ready == 3; }));
  EXPECT_EQ(connection->server_name(), "127.0.0.1:" + std::to_string(second.port()));
  connection.reset();
}

TEST_F(SentinelTest, AnUnknownNameIsAProblem) {
  RedisServer server({}, free_port());
  SentinelServer sentinel(server.port());
  const auto found = locator({sentinel.host()}, "other");
  ConnectionRecorder recorder;
  RedisConnection connection(loop_, *found, {}, recorder);
  connection.start();
  ASSERT_TRUE(loop_.run_until([&] { return !recorder.reasons.empty(); }));
  EXPECT_EQ(recorder.last_reason(),
            "Sentinel: " + sentinel.host().describe() + " knows no primary named \"other\"");
}

TEST_F(SentinelTest, NoSentinelIsAProblemAndNoEnd) {
  const auto found = locator({{"127.0.0.1", free_port()}});
  ConnectionRecorder recorder;
  RedisConnection connection(loop_, *found, {}, recorder);
  connection.start();
  ASSERT_TRUE(loop_.run_until([&] { return recorder.reasons.size() >= 2; }));
  EXPECT_NE(recorder.last_reason().find("Connection refused"), std::string::npos);
}

TEST_F(SentinelTest, APrimaryIsNoSentinelAndTheReverse) {
  RedisServer server({}, free_port());
  SentinelServer sentinel(server.port());
  const auto found = locator({{"127.0.0.1", server.port()}});
  ConnectionRecorder recorder;
  RedisConnection connection(loop_, *found, {}, recorder);
  connection.start();
  ASSERT_TRUE(loop_.run_until([&] { return !recorder.reasons.empty(); }));
  EXPECT_NE(recorder.last_reason().find("no Sentinel, its role is \"master\""), std::string::npos);
  Client client(loop_, {sentinel.host()});
  ASSERT_TRUE(loop_.run_until([&] { return !client.recorder.reasons.empty(); }));
  EXPECT_EQ(client.recorder.ready, 0);
}

}  // namespace
}  // namespace waystation::test
