// Several nodes in one process, over a real redis-server.
#include "cluster/redis_backplane.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "unit/cluster/recorder.hpp"
#include "unit/cluster/redis_server.hpp"
#include "unit/cluster/test_loop.hpp"
#include "unit/relay/fake_members.hpp"

namespace waystation::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto kPlain = Protocol::plain;
constexpr auto kV1 = Protocol::v1;
// How long a node that fits no other waits for one that was killed: several attempts to enter.
constexpr std::int64_t kSoonGoneMs = 2500;
constexpr std::string_view kFirstKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
constexpr std::string_view kSecondKey = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=\n";

/// Runs what Reachability has to announce.
class LoopScheduler final : public Scheduler, private Timer {
 public:
  explicit LoopScheduler(TestLoop& loop) : Timer(loop.timers()), loop_(loop) {}
  const Now& now() const noexcept override { return loop_.now(); }
  void run_at(std::int64_t steady_ms) noexcept override { Timer::set_sooner(steady_ms); }
  Reachability* reachability = nullptr;

 private:
  void on_timer() noexcept override { reachability->run(); }
  TestLoop& loop_;
};

/// Whether every node has answered in time.
bool is_whole(const UserPresence& presence) {
  return !presence.is_partial;
}
bool is_whole(const std::optional<UserPage>& page) {
  return page && !page->is_partial;
}
bool is_whole(const MissedAnswer& missed) {
  return missed && missed->complete;
}

/// Answers what nodes ask each other, from what the test has put there.
struct FakeNodeCalls final : NodeCalls {
  void missed_here(std::string user, MissedQuestion question,
                   Answer<MissedAnswer> answer) override {
    asked.push_back(user + " " +
                    (question.after ? question.after->text() : std::to_string(question.since)));
    if (is_silent) return;
    answer(missed);
  }
  void list_users_here(std::string_view after, std::size_t limit, std::int64_t,
                       UserListing::Answer answer) override {
    asked.push_back("users " + std::string(after) + " " + std::to_string(limit));
    answer(page);
  }

  std::vector<std::string> asked;
  bool is_silent = false;
  MissedAnswer missed = missed_failure(ErrorCode::audit_off);
  std::optional<UserPage> page = UserPage{};
};

/// A node without sockets of its own: fake members join it.
struct TestNode {
  TestNode(TestLoop& loop, const RedisServer& server, std::string name,
           std::string keys = std::string(kFirstKey), const RedisServer* other = nullptr,
           std::int64_t return_ms = NodeTimes{}.return_ms)
      : scheduler(loop),
        backplane(loop, directory, fanout, reachability, calls,
                  options(server, std::move(name), keys, other, return_ms)) {
    scheduler.reachability = &reachability;
  }

  ClusterOptions options(const RedisServer& server, std::string name, const std::string& keys,
                         const RedisServer* other, std::int64_t return_ms) {
    ClusterOptions options;
    options.engines.emplace_back().hosts = {server.host()};
    if (other != nullptr) options.engines.emplace_back().hosts = {other->host()};
    options.name = "test";
    options.node_name = std::move(name);
    options.keys = *SealKeys::parse(keys);
    options.times.reconnect_ms = -2000;  // as if the server had been started long ago
    options.times.return_ms = return_ms;
    options.missed_deadline_ms = 1100;  // longer than that of other questions
    options.log = [this](ClusterLog, const std::string& line) { log += line + "\n"; };
    return options;
  }

  std::string log;

  Recorder recorder;
  FakeNodeCalls calls;
  Directory directory{RateLimit{0, 1}};
  Fanout fanout{directory, recorder};
  LoopScheduler scheduler;
  Reachability reachability{directory, fanout, scheduler};
  RedisBackplane backplane;
  Router router{directory, fanout, backplane};
};

class RedisBackplaneTest : public testing::Test {
 protected:
  /// A node that can publish.
  TestNode& node(std::string name, std::string keys = std::string(kFirstKey)) {
    auto& made = *nodes_.emplace_back(
        std::make_unique<TestNode>(loop, server, std::move(name), std::move(keys)));
    EXPECT_TRUE(loop.run_until([&] { return made.backplane.state()->can_join("alice_bob"); }));
    return made;
  }

  /// A chat socket whose join is confirmed and that knows the other user's presence.
  std::unique_ptr<FakeChat> chat(TestNode& node, std::string_view user, Protocol protocol = kV1) {
    auto made = std::make_unique<FakeChat>(node.router, protocol, "alice_bob", user);
    EXPECT_TRUE(loop.run_until([&] { return made->joins == 1; }));
    const bool is_told = protocol == kPlain || loop.run_until([&] { return !made->texts.empty(); });
    EXPECT_TRUE(is_told);
    return made;
  }
  std::unique_ptr<FakePush> push(TestNode& node, std::string_view user) {
    auto made = std::make_unique<FakePush>(node.router, kV1, user);
    EXPECT_TRUE(loop.run_until([&] { return made->joins == 1; }));
    return made;
  }

  /// The next text that contains `part`; those before it are dropped.
  std::string hear(Inbox& inbox, std::string_view part) {
    std::string text;
    EXPECT_TRUE(loop.run_until([&] {
      while (text.find(part) == std::string::npos && !inbox.texts.empty()) text = inbox.next();
      return text.find(part) != std::string::npos;
    })) << "nothing with "
        << part;
    return text;
  }

  /// Asks until the answer is whole: a slow machine may not answer in time.
  template <typename Answer, typename Ask>
  Answer whole(Ask&& ask) {
    std::optional<Answer> answer;
    EXPECT_TRUE(loop.run_until([&] {
      answer.reset();
      ask([&](Answer found) { answer = std::move(found); });
      return loop.run_until([&] { return answer.has_value(); }) && is_whole(*answer);
    }));
    return std::move(answer).value();
  }

  std::string subscribers(const std::string& channel) const {
    return server.ask({"PUBSUB", "NUMSUB", "ws1:test:" + channel});
  }

  /// Has the server close the connection of that name.
  static void kill_connection(BlockingClient& admin, const std::string& name) {
    const auto clients = admin.ask({"CLIENT", "LIST"});
    const auto found = clients.find("name=" + name + " ");
    ASSERT_NE(found, std::string::npos) << clients;
    const auto id = clients.rfind("id=", found) + 3;
    ASSERT_EQ(admin.ask({"CLIENT", "KILL", "ID", clients.substr(id, clients.find(' ', id) - id)}),
              "1");
  }

  RedisServer server;
  TestLoop loop;
  std::vector<std::unique_ptr<TestNode>> nodes_;
};

TEST_F(RedisBackplaneTest, TheEngineCountsTheSocketsOfEachNode) {
  auto& first = node("a");
  auto& second = node("b");
  auto alice = chat(first, "alice");
  std::vector<std::unique_ptr<FakeChat>> tabs;
  for (std::size_t count = 1; count <= 40; ++count) {
    tabs.push_back(chat(count % 3 == 0 ? first : second, "bob", kPlain));
    alice->say(R"({"message":1,"id":"m"})", {7, 7});
    EXPECT_THAT(hear(*alice, "ack"), HasSubstr("\"reached\":" + std::to_string(count) + ","));
  }
  while (!tabs.empty()) {
    tabs.pop_back();
    alice->say(R"({"message":1,"id":"m"})", {7, 7});
    // What a socket leaves behind is on its way before the next message is.
    const auto ack = hear(*alice, "ack");
    EXPECT_THAT(ack, HasSubstr(tabs.empty() ? "\"route\":\"" : "\"route\":\"chat\""));
  }
  EXPECT_TRUE(loop.run_until(
      [&] { return subscribers("c:alice_bob:hi") == "[ws1:test:c:alice_bob:hi 0]"; }));
  for (unsigned bit = 0; bit < ChannelNames::kBits; ++bit) {
    const auto channel = "c:alice_bob:hi#" + std::to_string(bit);
    EXPECT_EQ(subscribers(channel), "[ws1:test:" + channel + " 0]");
  }
}

TEST_F(RedisBackplaneTest, TheLogAdvisesOnSettingsOfTheServer) {
  auto& first = node("a");
  EXPECT_TRUE(loop.run_until([&] {
    return first.log.find("client-output-buffer-limit = ") != std::string::npos &&
           first.log.find("tcp-keepalive = ") != std::string::npos &&
           first.log.find("crash-log-enabled = yes: ") != std::string::npos;
  })) << first.log;
  server.ask({"CONFIG", "SET", "tcp-keepalive", "5", "crash-log-enabled", "no",
              "client-output-buffer-limit", "pubsub 67108864 16777216 5"});
  auto& second = node("b");
  auto bob = chat(second, "bob");
  EXPECT_EQ(second.log.find(" = "), std::string::npos) << second.log;
}

TEST_F(RedisBackplaneTest, AJoinIsConfirmedByTheEngine) {
  auto& first = node("a");
  server.pause();
  auto alice = std::make_unique<FakeChat>(first.router, kV1, "alice_bob", "alice");
  for (int i = 0; i < 20; ++i) loop.round();
  EXPECT_EQ(alice->joins, 0);
  alice.reset();
  FakeChat again(first.router, kV1, "alice_bob", "alice");
  server.resume();
  EXPECT_TRUE(loop.run_until([&] { return again.joins == 1; }));
  EXPECT_EQ(hear(again, "presence"),
            R"({"presence":{"user":"bob","present":false,"reachable":false}})");
}

TEST_F(RedisBackplaneTest, APushSocketOnAnyNodeMakesAUserReachable) {
  auto& first = node("a");
  auto& second = node("b");
  auto early = push(second, "bob");
  auto alice = chat(first, "alice");
  hear(*alice, R"("present":false,"reachable":true)");
  early.reset();
  hear(*alice, R"("present":false,"reachable":false)");
  auto again = push(second, "bob");
  hear(*alice, R"("present":false,"reachable":true)");
  alice->all();
  auto other = push(first, "bob");
  again.reset();
  auto bob = chat(second, "bob");
  hear(*alice, R"("present":true,"reachable":true)");
  EXPECT_THAT(alice->all(), IsEmpty());
}

TEST_F(RedisBackplaneTest, PresenceIsSentOnceAtEachChange) {
  auto& first = node("a");
  auto& second = node("b");
  auto alice = chat(first, "alice");
  EXPECT_THAT(alice->all(),
              ElementsAre(R"({"presence":{"user":"bob","present":false,"reachable":false}})"));
  {
    auto bob = chat(second, "bob");
    EXPECT_THAT(bob->all(),
                ElementsAre(R"({"presence":{"user":"alice","present":true,"reachable":true}})"));
    auto twin = chat(first, "bob");
    EXPECT_THAT(twin->all(),
                ElementsAre(R"({"presence":{"user":"alice","present":true,"reachable":true}})"));
    hear(*alice, "true");
    bob.reset();
    alice->say(R"({"message":1})", {7, 7});
    hear(*alice, "ack");
  }
  EXPECT_EQ(hear(*alice, "presence"),
            R"({"presence":{"user":"bob","present":false,"reachable":false}})");
  EXPECT_THAT(alice->all(), IsEmpty());
}

TEST_F(RedisBackplaneTest, APresenceReportThatDoesNotFitIsMadeUpFor) {
  auto& first = node("a");
  auto& second = node("b");
  auto alice = chat(second, "alice");
  auto twin = chat(first, "alice");
  auto bob = chat(first, "bob");
  hear(*alice, R"("present":true)");
  // Its confirmation waits in the socket, and what it brings about finds the buffer full.
  bob.reset();
  loop.round();
  ASSERT_TRUE(
      eventually([&] { return subscribers("c:alice_bob:hi") == "[ws1:test:c:alice_bob:hi 0]"; }));
  for (const std::size_t size : {900'000U, 90'000U, 9000U, 900U}) {
    const auto filler = R"({"message":")" + std::string(size, 'x') + R"("})";
    for (int i = 0; i < 10; ++i) twin->say(filler, {7, 7});
  }
  // As small as the report.
  for (int i = 0; i < 10; ++i) twin->say(R"({"signal":1})", {7, 7});
  hear(*alice, R"("present":false)");
}

TEST_F(RedisBackplaneTest, ANodeThatCannotSubscribeForAWhileIsNotGivenUp) {
  auto& first = node("a");
  node("b");
  auto alice = chat(first, "alice");
  auto admin = server.client();
  ASSERT_EQ(admin.ask({"CONFIG", "SET", "maxclients", "1"}), "OK");
  kill_connection(admin, "waystation:test:a:S");
  const auto until = loop.now_ms() + NodeTimes{}.silence_ms + 600;
  loop.run_until([&] { return loop.now_ms() > until; });
  EXPECT_FALSE(first.backplane.state()->can_join("alice_bob"));
  ASSERT_EQ(admin.ask({"CONFIG", "SET", "maxclients", "1000"}), "OK");
  ASSERT_TRUE(loop.run_until([&] { return first.backplane.state()->can_join("alice_bob"); }));
  EXPECT_EQ(first.log.find("silent"), std::string::npos) << first.log;
}

TEST_F(RedisBackplaneTest, CommandsThatCannotBeSentFillNoLog) {
  auto& first = node("a");
  auto admin = server.client();
  const auto connections = [&admin] {
    const auto info = admin.ask({"INFO", "stats"});
    constexpr std::string_view kField = "total_connections_received:";
    return std::stoi(info.substr(info.find(kField) + kField.size()));
  };
  // The subscriptions stay.
  ASSERT_EQ(admin.ask({"CONFIG", "SET", "requirepass", "secret"}), "OK");
  const auto before = connections();
  kill_connection(admin, "waystation:test:a:C");
  ASSERT_TRUE(loop.run_until([&] { return connections() >= before + 5; }));
  const auto line = first.log.find("NOAUTH");
  ASSERT_NE(line, std::string::npos) << first.log;
  EXPECT_EQ(line, first.log.rfind("NOAUTH")) << first.log;
}

TEST_F(RedisBackplaneTest, ANodeThatCannotSendCommandsForAWhileIsNotGivenUp) {
  auto& first = node("a");
  // It may miss the subscriptions of the node at any time.
  TestLoop other_loop;
  Client other(other_loop, {server.host()});
  ASSERT_TRUE(other.run_until_ready());
  const Scripts scripts{ChannelNames("test")};
  const NodeEntry entry{"b", Incarnation::random(), "100001", "100002", other->run_id()};
  std::vector<std::string> nodes;
  const auto reap = [&] {
    bool is_done = false;
    scripts.reap(*other, entry, [&](const ReapReport* report) {
      is_done = true;
      if (report != nullptr) nodes = report->nodes;
    });
    return other_loop.run_until([&] { return is_done; });
  };
  bool is_entered = false;
  scripts.load(*other, [](const std::string& problem) { EXPECT_EQ(problem, ""); });
  scripts.register_node(*other, entry, false, {},
                        [&](const Registration* answer) { is_entered = answer != nullptr; });
  ASSERT_TRUE(other_loop.run_until([&] { return is_entered; }));

  auto admin = server.client();
  ASSERT_EQ(admin.ask({"CONFIG", "SET", "maxclients", "1"}), "OK");
  kill_connection(admin, "waystation:test:a:C");
  ASSERT_TRUE(loop.run_until([&] { return !first.backplane.state()->can_join("alice_bob"); }));
  const auto until = loop.now_ms() + NodeTimes{}.silence_ms + 600;
  loop.run_until([&] { return reap() && loop.now_ms() > until; });
  ASSERT_EQ(admin.ask({"CONFIG", "SET", "maxclients", "1000"}), "OK");
  ASSERT_TRUE(loop.run_until([&] {
    EXPECT_TRUE(reap());
    EXPECT_THAT(nodes, testing::Contains("a"));
    return first.backplane.state()->can_join("alice_bob");
  }));
  EXPECT_EQ(first.log.find("silent"), std::string::npos) << first.log;
}

TEST_F(RedisBackplaneTest, AFrameIsShownOnceHoweverOftenItIsPublished) {
  auto& first = node("a");
  auto& second = node("b");
  auto alice = chat(first, "alice");
  auto bob = chat(second, "bob");
  const auto push_socket = push(second, "bob");
  auto listener = server.client();
  ASSERT_THAT(listener.ask({"SUBSCRIBE", "ws1:test:c:alice_bob:hi"}), HasSubstr("subscribe"));
  alice->say(R"({"message":"once","id":"m"})", {7, 7});
  hear(*bob, "once");
  auto frame = listener.receive();
  frame = frame.substr(frame.find(" M") + 1);
  frame.pop_back();  // of "[message <channel> <payload>]"
  bob->all();
  for (const auto* channel : {"ws1:test:c:alice_bob:hi", "ws1:test:c:alice_bob:lo",
                              "ws1:test:p:bob", "ws1:test:p:alice", "ws1:test:all"}) {
    server.ask({"PUBLISH", channel, frame});
  }
  alice->say(R"({"message":"then","id":"n"})", {7, 7});
  hear(*bob, "then");
  EXPECT_THAT(bob->all(), IsEmpty());
  EXPECT_THAT(push_socket->all(), IsEmpty());
  EXPECT_THAT(alice->all(), testing::Not(testing::Contains(HasSubstr("once"))));
}

TEST_F(RedisBackplaneTest, ANodeGivesUpAllBeforeItLeaves) {
  auto& first = node("a");
  auto& second = node("b");
  auto bob = chat(second, "bob");
  auto watcher = server.client();
  ASSERT_THAT(watcher.ask({"SUBSCRIBE", "ws1:test:all"}), HasSubstr("subscribe"));
  auto until_left = std::make_shared<int>();
  const std::weak_ptr<int> leaving = until_left;
  first.backplane.leave_cluster(std::exchange(until_left, nullptr));
  ASSERT_TRUE(loop.run_until([&] { return leaving.expired(); }));
  EXPECT_EQ(server.ask({"HEXISTS", "ws1:test:nodes", "a"}), "0");
  std::string gone;
  ASSERT_TRUE(loop.run_until([&] { return second.backplane.state()->stats.nodes == 1; }));
  EXPECT_EQ(subscribers("all"), "[ws1:test:all 2]") << "the watcher and the node that stays";
  gone = watcher.receive();
  EXPECT_EQ(gone.substr(0, 24), "[message ws1:test:all G1") << gone;
}

TEST_F(RedisBackplaneTest, TheEchoOfASenderWhoHasLeftIsShownElsewhere) {
  auto& first = node("a");
  auto& second = node("b");
  auto twin = chat(second, "alice");
  auto bob = chat(second, "bob");
  twin->all();
  for (int i = 0; i < 20; ++i) {
    auto alice = chat(first, "alice");
    alice->say(R"({"message":"last words","id":"m"})", {7, 7});
    alice.reset();
    EXPECT_EQ(hear(*twin, "last words"),
              R"({"message":"last words","from":"alice","id":"m","at":7})");
    hear(*bob, "last words");
  }
  EXPECT_TRUE(loop.run_until([&] { return first.recorder.entries.size() == 20; }));
  EXPECT_EQ(first.recorder.entries.back(),
            (Recorder::Entry{Outcome::chat, 7, "alice_bob", "alice", "bob", "m", 1, 12}));
  // The server reads the long messages in several steps, and what follows on the other connection
  // in between.
  auto alice = chat(first, "alice");
  const auto filler = R"({"message":")" + std::string(900'000, 'x') + R"(","id":"m"})";
  for (int i = 0; i < 4; ++i) alice->say(filler, {7, 7});
  alice->say(R"({"message":"after them","id":"m"})", {7, 7});
  alice.reset();
  hear(*twin, "after them");
  // The last socket leaves the channel once its message is decided.
  twin.reset();
  EXPECT_TRUE(loop.run_until(
      [&] { return subscribers("c:alice_bob:lo") == "[ws1:test:c:alice_bob:lo 0]"; }));
}

TEST_F(RedisBackplaneTest, WhatAQueueRefusesAfterTheDecisionIsDropped) {
  auto& first = node("a");
  auto& second = node("b");
  auto alice = chat(first, "alice");
  auto bob = chat(second, "bob");
  bob->capacity = 0;
  alice->say(R"({"message":1,"id":"m"})", {7, 7});
  EXPECT_THAT(hear(*alice, "ack"), HasSubstr(R"("route":"chat","reached":1)"));
  ASSERT_TRUE(loop.run_until([&] { return !second.recorder.entries.empty(); }));
  EXPECT_THAT(second.recorder.entries, ElementsAre(Recorder::Entry{Outcome::dropped, 7, "alice_bob",
                                                                   "alice", "bob", "m", 0, 1}));
}

TEST_F(RedisBackplaneTest, SignalsGoToBothSidesButNotToTheirSender) {
  auto& first = node("a");
  auto& second = node("b");
  auto alice = chat(first, "alice");
  auto twin = chat(first, "alice");
  auto bob = chat(second, "bob");
  alice->all();
  alice->say(R"({"signal":1})", {7, 7});
  alice->say(R"({"message":2,"id":"m"})", {7, 7});
  for (auto* other : {twin.get(), bob.get()}) {
    EXPECT_EQ(hear(*other, "signal"), R"({"signal":1,"from":"alice"})");
    hear(*other, "message");
  }
  EXPECT_TRUE(loop.run_until([&] { return !alice->texts.empty(); }));
  EXPECT_THAT(alice->all(), ElementsAre(HasSubstr("ack")));
}

TEST_F(RedisBackplaneTest, KeysCanBeChangedWhileNodesTalk) {
  const auto first_key = std::string(kFirstKey);
  const auto second_key = std::string(kSecondKey);
  auto& first = node("a", first_key + second_key);
  auto& second = node("b", second_key + first_key);
  auto alice = chat(first, "alice");
  auto bob = chat(second, "bob");
  alice->say(R"({"message":"old","id":"m"})", {7, 7});
  hear(*bob, "old");
  bob->say(R"({"message":"new","id":"m"})", {7, 7});
  hear(*alice, "new");
}

TEST_F(RedisBackplaneTest, AFrameOfAnUnknownKeyIsNotShown) {
  auto& here = node("a");
  auto bob = chat(here, "bob");
  bob->all();
  RedisServer elsewhere;
  TestNode stranger(loop, elsewhere, "b", std::string(kSecondKey));
  ASSERT_TRUE(loop.run_until([&] { return stranger.backplane.state()->can_join("alice_bob"); }));
  const std::string channel = "ws1:test:c:alice_bob:hi";
  auto listener = elsewhere.client();
  ASSERT_THAT(listener.ask({"SUBSCRIBE", channel}), HasSubstr("subscribe"));
  auto alice = chat(stranger, "alice");
  alice->say(R"({"message":"secret","id":"m"})", {7, 8});
  hear(*alice, "ack");
  const std::string before = "[message " + channel + " M";
  std::string line;
  do line = listener.receive();
  while (!line.starts_with(before));
  const auto frame = line.substr(before.size() - 1, line.size() - before.size());
  ASSERT_EQ(server.ask({"PUBLISH", channel, frame}), "1");
  EXPECT_TRUE(loop.run_until([&] { return here.backplane.state()->stats.frames_rejected == 1; }));
  EXPECT_THAT(bob->all(), IsEmpty());
}

TEST_F(RedisBackplaneTest, ANodeWithOtherKeysDoesNotEnter) {
  auto first = std::make_unique<TestNode>(loop, server, "a");
  const auto& first_state = *first->backplane.state();
  ASSERT_TRUE(loop.run_until([&] { return first_state.can_join("alice_bob"); }));
  TestNode other(loop, server, "b", std::string(kSecondKey), nullptr, kSoonGoneMs);
  const auto& state = *other.backplane.state();
  ASSERT_TRUE(loop.run_until([&] { return state.stats.settings_differ == 1; }));
  EXPECT_FALSE(state.can_join("alice_bob"));
  EXPECT_THAT(other.log, HasSubstr("node \"a\" seals with a key that this node does not have; copy "
                                   "the same cluster_key_file to every node"));
  EXPECT_EQ(server.ask({"HKEYS", "ws1:test:nodes"}), "[a]");
  // It tries again, and says it once.
  first.reset();
  ASSERT_TRUE(loop.run_until([&] { return state.can_join("alice_bob"); }));
  EXPECT_EQ(state.stats.settings_differ, 0U);
  EXPECT_EQ(other.log.find("node \"a\" seals"), other.log.rfind("node \"a\" seals")) << other.log;
}

TEST_F(RedisBackplaneTest, ANodeWithAnotherListOfEnginesGetsNoSocket) {
  RedisServer second;
  auto first = std::make_unique<TestNode>(loop, server, "a");
  const auto& first_state = *first->backplane.state();
  ASSERT_TRUE(loop.run_until([&] { return first_state.can_join("alice_bob"); }));
  // Nobody is on the second engine yet: a group there would be none that node "a" finds.
  TestNode other(loop, server, "b", std::string(kFirstKey), &second, kSoonGoneMs);
  const auto& state = *other.backplane.state();
  ASSERT_TRUE(loop.run_until([&] {
    return state.stats.settings_differ == 1 &&
           other.log.find(second.path() + ": ready") != std::string::npos;
  }));
  EXPECT_THAT(other.log,
              HasSubstr("this server is entry 1/2 of cluster here, and entry 1/1 at node "
                        "\"a\"; give every node the same list in the same order"));
  for (const auto* group : {"alice_bob", "alice_carol", "alice_dave", "alice_erin", ""}) {
    EXPECT_FALSE(state.can_join(group)) << group;
  }
  EXPECT_EQ(state.stats.engines_ready, 0U);
  std::optional<SocketCount> notified;
  other.router.notify("alice", "1", {7, 7}, [&](SocketCount count) { notified = count; });
  ASSERT_TRUE(loop.run_until([&] { return notified.has_value(); }));
  EXPECT_TRUE(notified->is_partial);
  first.reset();
  ASSERT_TRUE(loop.run_until([&] { return state.stats.engines_ready == 2; }));
  EXPECT_TRUE(state.can_join(""));
}

TEST_F(RedisBackplaneTest, WhatIsPublishedByStrangersIsRejected) {
  auto& first = node("a");
  auto alice = chat(first, "alice");
  const auto push_socket = push(first, "alice");
  alice->all();
  const std::vector<std::string> payloads{
      "",   "M",
      "V1", std::string(200, 'M'),
      "S9", std::string("V1\0\0\0\1", 6) + std::string(100, 'x')};
  for (const auto& payload : payloads) {
    for (const auto* channel : {"ws1:test:c:alice_bob:lo", "ws1:test:p:alice", "ws1:test:all"}) {
      server.ask({"PUBLISH", channel, payload});
    }
  }
  const auto push_bob = push(first, "bob");
  alice->say(R"({"message":1,"id":"m"})", {7, 7});
  hear(*alice, "ack");
  EXPECT_GE(first.backplane.state()->stats.frames_rejected, payloads.size());
  EXPECT_THAT(alice->all(), IsEmpty());
  EXPECT_THAT(push_socket->all(), IsEmpty());
}

TEST_F(RedisBackplaneTest, NothingWaitsForTheSignalOfASenderWhoHasLeft) {
  auto alice = chat(node("a"), "alice");
  InFlight in_flight;
  Message message;
  message.value = "1";
  message.group = "alice_bob";
  const auto deadline = loop.now_ms() + 3'600'000;
  auto& signal = in_flight.add(InFlight::Kind::signal, alice.get(), message, deadline);
  const auto number = signal.number;
  signal.is_replied = true;
  const auto settle = [&] {
    in_flight.settle(loop.now_ms(), [](InFlight::Entry&) { ADD_FAILURE() << "expired"; });
  };
  settle();
  EXPECT_FALSE(in_flight.is_settled(number));
  in_flight.forget_sender(*alice);
  settle();
  EXPECT_TRUE(in_flight.is_settled(number));
}

// Headers are not sealed where they come alone, and the numbers of messages can be guessed.
TEST_F(RedisBackplaneTest, AForgedVerdictShowsNoMessageOfAnotherGroup) {
  auto& first = node("a");
  auto alice = chat(first, "alice");
  auto bob = chat(first, "bob");
  const auto mallory = std::make_unique<FakeChat>(first.router, kV1, "mallory_zed", "mallory");
  ASSERT_TRUE(loop.run_until([&] { return mallory->joins == 1; }));
  auto listener = server.client();
  ASSERT_THAT(listener.ask({"SUBSCRIBE", "ws1:test:c:alice_bob:hi"}), HasSubstr("subscribe"));
  alice->say(R"({"message":"first","id":"m"})", {7, 7});
  hear(*bob, "first");
  auto frame = listener.receive();
  frame = frame.substr(frame.find(" M") + 1);
  frame.pop_back();
  const auto known = read_node_message(frame);
  ASSERT_TRUE(known);
  mallory->all();
  alice->all();

  const auto forge = [&](std::string_view channel, Side to_side, std::uint32_t number) {
    NodeHeader header;
    header.to_side = to_side;
    header.group = "mallory_zed";
    header.from = "mallory";
    header.to = "zed";
    header.socket = number;
    Sealer sealer(**SealKeys::parse(std::string(kSecondKey)), "test", known->header.origin);
    std::string forged;
    const auto header_bytes = write_node_message(forged, header, "", sealer);
    server.ask({"PUBLISH", channel, std::string("V1\0\0\0\7", 6) + forged.substr(0, header_bytes)});
  };
  const auto rejected = first.backplane.state()->stats.frames_rejected.load();
  const auto inbox = "ws1:test:n:" + known->header.origin.hex();
  // The verdicts arrive before the message is sent to the engine.
  alice->say(R"({"message":"secret","id":"n"})", {7, 7});
  for (std::uint32_t number = 1; number < 8; ++number) {
    forge("ws1:test:c:mallory_zed:lo", Side::hi, known->header.socket + number);
    forge(inbox, Side::hi, known->header.socket + number);
  }
  EXPECT_THAT(hear(*alice, "ack"), HasSubstr(R"("route":"chat")"));
  hear(*bob, "secret");
  EXPECT_EQ(first.backplane.state()->stats.frames_rejected - rejected, 2U);
  EXPECT_THAT(mallory->all(), IsEmpty());
}

TEST_F(RedisBackplaneTest, ManyNodesThatComeAtOnceCauseFewRecounts) {
  auto& first = node("a");
  auto alice = chat(first, "alice");
  auto listener = server.client();
  ASSERT_THAT(listener.ask({"SUBSCRIBE", "ws1:test:all"}), HasSubstr("subscribe"));
  node("b");
  auto ready = listener.receive();
  ready = ready.substr(ready.find(" A") + 1);
  ready.pop_back();
  ASSERT_EQ(server.ask({"CONFIG", "RESETSTAT"}), "OK");
  for (int i = 0; i < 300; ++i) server.ask({"PUBLISH", "ws1:test:all", ready});
  const auto bob = chat(first, "bob");
  hear(*alice, R"("present":true)");
  // The scripts: of the joins, of the table's timers, and of the recounts.
  const auto stats = server.ask({"INFO", "commandstats"});
  const auto calls = stats.find("cmdstat_evalsha:calls=");
  ASSERT_NE(calls, std::string::npos) << stats;
  EXPECT_LT(std::stoi(stats.substr(calls + 22)), 150) << stats;
}

TEST_F(RedisBackplaneTest, NotificationsOfThisNodeAreNoStrangers) {
  auto& first = node("a");
  const auto push_socket = push(first, "alice");
  int answered = 0;
  for (int i = 0; i < 200; ++i) {
    first.backplane.notify({.value = "1", .group = {}, .from = {}, .to = "alice", .id = {}},
                           [&](const SocketCount&) { ++answered; });
    if (i % 10 == 0) loop.round();
  }
  ASSERT_TRUE(loop.run_until([&] { return answered == 200; }));
  ASSERT_TRUE(loop.run_until([&] { return push_socket->texts.size() == 200; }));
  EXPECT_EQ(first.backplane.state()->stats.frames_rejected, 0U);
}

TEST_F(RedisBackplaneTest, CallsCountTheSocketsOfAllNodes) {
  auto& first = node("a");
  auto& second = node("b");
  const auto one = push(first, "alice");
  const auto two = push(second, "alice");
  auto tab = chat(second, "alice");
  std::optional<SocketCount> reached;
  first.router.notify("alice", "1", {7, 7}, [&](SocketCount count) { reached = count; });
  ASSERT_TRUE(loop.run_until([&] { return reached.has_value(); }));
  EXPECT_EQ(reached->sockets, 2U);
  EXPECT_FALSE(reached->is_partial);
  hear(*two, "event");
  EXPECT_THAT(first.recorder.entries,
              ElementsAre(Recorder::Entry{Outcome::pushed, 7, "", "", "alice", "", 2, 1}));
  const auto presence = whole<UserPresence>(
      [&](auto answer) { first.backplane.presence("alice", std::move(answer)); });
  EXPECT_EQ(presence.push_sockets, 2U);
  EXPECT_THAT(presence.groups, ElementsAre("alice_bob"));
}

TEST_F(RedisBackplaneTest, ACallThatANodeDoesNotAnswerIsPartial) {
  auto& first = node("a");
  // It is subscribed to all, and answers nothing.
  auto silent = server.client();
  EXPECT_THAT(silent.ask({"SUBSCRIBE", "ws1:test:all"}), HasSubstr("subscribe"));
  std::optional<UserPresence> presence;
  first.backplane.presence("alice", [&](UserPresence found) { presence = std::move(found); });
  ASSERT_TRUE(loop.run_until([&] { return presence.has_value(); }));
  EXPECT_TRUE(presence->is_partial);
}

TEST_F(RedisBackplaneTest, ACallIsPartialWhileNodesAreAboutToReturn) {
  auto& first = node("a");
  whole<UserPresence>([&](auto answer) { first.backplane.presence("alice", std::move(answer)); });
  // In the table, and not subscribed.
  server.ask({"HSET", "ws1:test:nodes", "b", "-"});
  std::optional<UserPresence> presence;
  first.backplane.presence("alice", [&](UserPresence found) { presence = std::move(found); });
  ASSERT_TRUE(loop.run_until([&] { return presence.has_value(); }));
  EXPECT_TRUE(presence->is_partial);
}

TEST_F(RedisBackplaneTest, ANodeThatOnlyAnotherEngineKnowsIsMissed) {
  const RedisServer other;
  TestNode first(loop, server, "a", std::string(kFirstKey), &other);
  // It is cut off from the engine that is asked.
  RedisServer unreachable;
  unreachable.kill();
  TestNode second(loop, unreachable, "b", std::string(kFirstKey), &other);
  first.calls.missed = Missed{{}, 0, true, "5000-7-1-a"};
  ASSERT_TRUE(loop.run_until([&] { return first.backplane.state()->stats.engines_ready == 2; }));
  MissedAnswer missed = missed_failure(ErrorCode::timeout);
  ASSERT_TRUE(loop.run_until([&] {
    first.backplane.missed("alice", {400, {}},
                           [&](MissedAnswer found) { missed = std::move(found); });
    return missed && !missed->complete;
  }));
  EXPECT_EQ(missed->next, "5000-7-1-a~400-0-0-b~400");
  // Whichever engine was read last.
  const auto& nodes = first.backplane.state()->stats.nodes;
  ASSERT_TRUE(loop.run_until([&] { return nodes == 2; }));
  const auto until = loop.now_ms() + 1100;  // each engine is read twice
  loop.run_until([&] {
    EXPECT_EQ(nodes, 2U);
    return loop.now_ms() > until;
  });
  std::optional<SocketCount> closed;
  first.backplane.end_sessions("alice", [&](SocketCount count) { closed = count; });
  ASSERT_TRUE(loop.run_until([&] { return closed.has_value(); }));
  EXPECT_TRUE(closed->is_partial);
}

TEST_F(RedisBackplaneTest, TwoEnginesAreNotOneServer) {
  TestNode made(loop, server, "a", std::string(kFirstKey), &server);
  const auto& stats = made.backplane.state()->stats;
  ASSERT_TRUE(loop.run_until([&] {
    return stats.engines_ready != 0 && made.log.find("the same server") != std::string::npos;
  }));
  EXPECT_THAT(made.log, HasSubstr("each entry of cluster needs its own server"));
  // As often as it is tried.
  const auto until = loop.now_ms() + 200;
  loop.run_until([&] {
    EXPECT_EQ(stats.engines_ready, 1U);
    return loop.now_ms() > until;
  });
  EXPECT_EQ(made.log.find("the same server"), made.log.rfind("the same server")) << made.log;
}

TEST_F(RedisBackplaneTest, WhatAUserMissedIsAskedOfAllNodes) {
  auto& first = node("a");
  auto& second = node("b");
  first.calls.missed = Missed{{{"bob", 1, 1000, 1000}}, 0, true, "5000-7-1-a"};
  second.calls.missed = Missed{{{"bob", 2, 500, 2000}}, 3, true, "5001-9-2-b"};
  const auto ask_all = [&](const MissedQuestion& question) {
    auto answer = whole<MissedAnswer>(
        [&](auto done) { first.backplane.missed("alice", question, std::move(done)); });
    EXPECT_EQ(first.calls.asked.back(), second.calls.asked.back());
    return answer;
  };
  // Both nodes know each other after their next look at the table.
  ASSERT_TRUE(loop.run_until([&] { return first.backplane.state()->stats.nodes == 2; }));
  const auto all = ask_all({400, {}});
  ASSERT_TRUE(all);
  EXPECT_EQ(second.calls.asked.back(), "alice 400");
  EXPECT_EQ(missed_text(*all),
            R"({"missed":{"from":[{"user":"bob","count":3,"first":500,"last":2000}],)"
            R"("notifications":3,"complete":true,"next":"5000-7-1-a~5001-9-2-b~400"}})");
  ASSERT_TRUE(ask_all({0, MissedCursor::parse(all->next)}));
  EXPECT_EQ(second.calls.asked.back(), "alice 5000-7-1-a~5001-9-2-b~400");

  std::optional<MissedAnswer> answer;
  const auto ask = [&](MissedQuestion question) {
    answer.reset();
    first.backplane.missed("alice", std::move(question),
                           [&](MissedAnswer found) { answer = std::move(found); });
    EXPECT_TRUE(loop.run_until([&] { return answer.has_value(); }));
  };
  second.calls.missed = missed_failure(ErrorCode::audit_off);
  ask({0, {}});
  EXPECT_FALSE((*answer)->complete) << "a node has no audit";
  second.calls.is_silent = true;
  ask({300, {}});
  ASSERT_TRUE(*answer);
  EXPECT_FALSE((*answer)->complete);
  EXPECT_EQ((*answer)->next, "5000-7-1-a~300-0-0-b~300");
  EXPECT_EQ((*answer)->from.size(), 1U);

  // What happens to names is nobody's but the nodes'.
  EXPECT_EQ(first.backplane.state()->stats.frames_rejected, 0U);
}

TEST_F(RedisBackplaneTest, WithoutTheEngineANodeAnswersAlone) {
  auto& first = node("a");
  node("b");
  first.calls.missed = Missed{{}, 0, true, "5000-7-1-a"};
  first.calls.page = UserPage{{{ShortText("alice")}}, false, false};
  server.kill();
  ASSERT_TRUE(loop.run_until([&] { return !first.backplane.state()->can_join("alice_bob"); }));
  std::optional<MissedAnswer> missed;
  first.backplane.missed("alice", {0, MissedCursor::parse("1-2-1-a~3-4-2-b")},
                         [&](MissedAnswer found) { missed = std::move(found); });
  ASSERT_TRUE(missed && *missed);
  EXPECT_FALSE((*missed)->complete);
  EXPECT_THAT((*missed)->next, HasSubstr("5000-7-1-a"));
  std::optional<UserPage> page;
  first.backplane.list_users("", 10, [&](std::optional<UserPage> found) { page = found; });
  ASSERT_TRUE(page);
  EXPECT_TRUE(page->is_partial);
  EXPECT_EQ(page->users.size(), 1U);
}

TEST_F(RedisBackplaneTest, AThousandQuestionsWaitAtMost) {
  auto& first = node("a");
  first.calls.is_silent = true;
  std::size_t busy = 0;
  std::size_t late = 0;
  for (std::size_t i = 0; i < Questions::kMaxMissed + 1; ++i) {
    first.backplane.missed("user" + std::to_string(i), {}, [&](const MissedAnswer& found) {
      EXPECT_FALSE(found);
      if (found.error().code == ErrorCode::audit_busy) ++busy;
      if (found.error().code == ErrorCode::timeout) ++late;
    });
  }
  EXPECT_EQ(busy, 1U);
  ASSERT_TRUE(loop.run_until([&] { return late == Questions::kMaxMissed; }));
  first.backplane.missed("alice", {}, [&](const MissedAnswer&) { ++late; });
  EXPECT_EQ(busy, 1U) << "there is room again";
}

TEST_F(RedisBackplaneTest, OneQuestionOfAUserWaits) {
  auto& first = node("a");
  auto& second = node("b");
  second.calls.is_silent = true;
  std::string answers;
  const auto ask = [&](const char* user) {
    first.backplane.missed(user, {}, [&](const MissedAnswer& found) {
      answers += found ? "found " : std::string(found.error().detail) + " ";
    });
  };
  ask("alice");
  ask("alice");
  ask("bob");
  EXPECT_EQ(answers, "missed: another question of this user waits; send one at a time ");
  ASSERT_TRUE(loop.run_until([&] { return second.calls.asked.size() == 2; }));
  EXPECT_THAT(second.calls.asked, ElementsAre("alice 0", "bob 0")) << "no node was asked in vain";
  second.calls.is_silent = false;
  answers.clear();
  // Once the first one is answered.
  ASSERT_TRUE(loop.run_until([&] {
    ask("alice");
    return second.calls.asked.size() == 3;
  }));
}

TEST_F(RedisBackplaneTest, UsersOfAllNodesAreOneList) {
  auto& first = node("a");
  auto& second = node("b");
  first.calls.page = UserPage{{{ShortText("alice"), 1, 2}, {ShortText("dave"), 1, 0}}, true, false};
  second.calls.page =
      UserPage{{{ShortText("alice"), 3, 1}, {ShortText("bob"), 0, 1}}, false, false};
  auto page = whole<std::optional<UserPage>>(
      [&](auto done) { first.backplane.list_users("aaron", 2, std::move(done)); });
  ASSERT_TRUE(page);
  ASSERT_EQ(page->users.size(), 2U);
  const auto& alice = page->users[0];
  EXPECT_EQ(alice.name.view(), "alice");
  EXPECT_EQ((std::vector{alice.push_sockets, alice.groups, alice.nodes}),
            (std::vector<std::size_t>{4, 3, 2}));
  EXPECT_EQ(page->users[1].name.view(), "bob");
  EXPECT_TRUE(page->has_more);
  EXPECT_EQ(second.calls.asked.back(), "users aaron 2");

  second.calls.page.reset();  // it could not be read in time
  page.reset();
  first.backplane.list_users("", 10, [&](std::optional<UserPage> found) { page = found; });
  ASSERT_TRUE(loop.run_until([&] { return page.has_value(); }));
  EXPECT_TRUE(page->is_partial);
}

TEST_F(RedisBackplaneTest, TheLogSaysOnceWhyScriptsFail) {
  auto& first = node("a");
  const auto lines_with = [&](std::string_view part) {
    std::size_t lines = 0;
    for (auto at = first.log.find(part); at != std::string::npos;
         at = first.log.find(part, at + 1)) {
      ++lines;
    }
    return lines;
  };
  // Each error that the server counts is one of the node's own calls.
  const auto fails_often = [&](const std::string& code) {
    const auto errors = [&] {
      const auto stats = server.ask({"INFO", "errorstats"});
      const auto at = stats.find("errorstat_" + code + ":count=");
      return at == std::string::npos ? 0 : std::stoi(stats.substr(stats.find('=', at) + 1));
    };
    const auto before = errors();
    return loop.run_until([&] { return errors() >= before + 3; });
  };
  const auto alice = chat(first, "alice");

  ASSERT_EQ(server.ask({"CONFIG", "SET", "maxmemory", "1"}), "OK");
  ASSERT_TRUE(fails_often("OOM"));
  EXPECT_EQ(lines_with("a script has failed: the server answered \"OOM "), 1U) << first.log;
  EXPECT_THAT(first.log, HasSubstr("; raise its maxmemory"));
  ASSERT_EQ(server.ask({"CONFIG", "SET", "maxmemory", "0"}), "OK");

  ASSERT_EQ(server.ask({"ACL", "SETUSER", "default", "resetchannels", "&ws1:test:n:*"}), "OK");
  ASSERT_TRUE(loop.run_until([&] { return first.backplane.state()->can_join("alice_bob"); }));
  alice->say(R"({"message":1,"id":"m"})", {7, 7});
  ASSERT_TRUE(loop.run_until([&] { return lines_with("\"NOPERM ") != 0; })) << first.log;
  EXPECT_THAT(first.log, HasSubstr("; give its user the rights"));
  ASSERT_EQ(server.ask({"ACL", "SETUSER", "default", "allchannels", "-evalsha"}), "OK");
  ASSERT_TRUE(fails_often("NOPERM"));
  EXPECT_EQ(lines_with("a script has failed: the server answered \"NOPERM "), 1U) << first.log;
  ASSERT_EQ(server.ask({"ACL", "SETUSER", "default", "+evalsha"}), "OK");

  ASSERT_TRUE(loop.run_until([&] { return first.backplane.state()->can_join("alice_bob"); }));
  ASSERT_EQ(server.ask({"CONFIG", "SET", "min-replicas-to-write", "1"}), "OK");
  ASSERT_TRUE(fails_often("NOREPLICAS"));
  EXPECT_EQ(lines_with("the server answered \"NOREPLICAS "), 1U) << first.log;
  EXPECT_THAT(first.log, HasSubstr("; it has fewer replicas than min-replicas-to-write"));
  EXPECT_EQ(first.log.find("alice"), std::string::npos) << first.log;
}

TEST_F(RedisBackplaneTest, ListsTheNodes) {
  auto& first = node("a");
  node("b");
  std::optional<NodeList> list;
  const auto ask = [&] {
    list.reset();
    first.backplane.list_nodes([&](NodeList found) { list = std::move(found); });
    EXPECT_TRUE(loop.run_until([&] { return list.has_value(); }));
  };
  ask();
  ASSERT_EQ(list->nodes.size(), 2U);
  EXPECT_EQ(list->nodes[0].name + list->nodes[1].name, "ab");
  EXPECT_TRUE(list->nodes[0].is_own && !list->nodes[1].is_own);
  EXPECT_TRUE(list->nodes[0].is_ready && list->nodes[1].is_ready);
  EXPECT_EQ(list->nodes[1].incarnation.size(), 8U);
  EXPECT_FALSE(list->is_partial);
  server.kill();
  ASSERT_TRUE(loop.run_until([&] { return !first.backplane.state()->can_join("alice_bob"); }));
  ask();
  ASSERT_EQ(list->nodes.size(), 1U);
  EXPECT_FALSE(list->nodes[0].is_ready);
  EXPECT_TRUE(list->is_partial);
}

TEST_F(RedisBackplaneTest, MessagesUnderWayAtTheEndOfANodeAreForgotten) {
  auto& first = node("a");
  auto alice = chat(first, "alice");
  server.pause();
  alice->say(R"({"message":1,"id":"m"})", {7, 7});
  std::optional<SocketCount> reached;
  first.router.notify("alice", "1", {7, 7}, [&](SocketCount count) { reached = count; });
  for (int i = 0; i < 5; ++i) loop.round();
  alice.reset();
  nodes_.clear();
  EXPECT_FALSE(reached.has_value());
}

}  // namespace
}  // namespace waystation::test
