#include "cluster/scripts.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/events.hpp"
#include "unit/cluster/recorder.hpp"
#include "unit/cluster/redis_server.hpp"
#include "unit/cluster/test_loop.hpp"

namespace waystation::test {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

/// Another node's subscriptions: what arrives, in order.
class Subscriber {
 public:
  Subscriber(const RedisServer& server, const std::vector<std::string>& channels)
      : client_(server.client()) {
    for (const auto& channel : channels) subscribe(channel);
  }

  void subscribe(const std::string& channel) {
    EXPECT_TRUE(client_.ask({"SUBSCRIBE", channel}).starts_with("[subscribe ")) << channel;
  }

  /// What has arrived until now: "<channel> <payload>" each.
  std::vector<std::string> read() {
    client_.send({"PING", "end"});
    std::vector<std::string> arrived;
    for (;;) {
      auto line = client_.receive();
      if (line == "[pong end]" || line == "(end)") return arrived;
      if (line.starts_with("[message ")) arrived.push_back(line.substr(9, line.size() - 10));
    }
  }

 private:
  BlockingClient client_;
};

class ScriptsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(client_.run_until_ready());
    load();
  }

  /// Kills the server and starts it, without its data.
  void restart() {
    const auto lost = client_.recorder.lost;
    server_.kill();
    ASSERT_TRUE(loop_.run_until([&] { return client_.recorder.lost == lost + 1; }));
    server_.start();
    ASSERT_TRUE(client_.run_until_ready());
    load();
  }

  /// Waits until the server has run for longer than the rounding of its uptime.
  void await_uptime() {
    ASSERT_TRUE(loop_.run_until([&] {
      return server_.ask({"INFO", "server"}).find("uptime_in_seconds:2") != std::string::npos;
    }));
  }

  void load() {
    std::optional<std::string> problem;
    ASSERT_TRUE(scripts_.load(*client_, [&](std::string text) { problem = std::move(text); }));
    ASSERT_TRUE(loop_.run_until([&] { return problem.has_value(); }));
    ASSERT_EQ(*problem, "");
  }

  /// Runs a call that takes a handler, and returns the reply as a line.
  template <typename Call>
  std::string reply_of(Call&& call) {
    std::optional<std::string> line;
    const bool is_sent =
        call([&line](const Reply* reply) { line = reply ? to_line(*reply) : "(lost)"; });
    EXPECT_TRUE(is_sent);
    EXPECT_TRUE(loop_.run_until([&] { return line.has_value(); }));
    return line.value_or("");
  }

  std::string decide(Scripts::Decide call) {
    if (call.frame.empty()) call.frame = "Mheader-value";
    if (call.header_bytes == 0) call.header_bytes = 7;
    if (call.deadline_ms == 0) call.deadline_ms = *client_->server_time_ms() + 10'000;
    return reply_of([&](auto handler) { return scripts_.decide(*client_, call, handler); });
  }
  std::string decide_from_alice() {
    return decide({.chat_channel = bob_chat_,
                   .push_channel = bob_push_,
                   .echo_channel = alice_chat_,
                   .inbox = inbox_});
  }

  NodeEntry entry(const std::string& name) {
    return {name, Incarnation::random(), "100001", "100002", client_->run_id()};
  }
  /// The same node with new connections.
  NodeEntry next(NodeEntry node) {
    node.incarnation = node.incarnation.next();
    node.run_id = client_->run_id();
    return node;
  }

  Registration enter(const NodeEntry& node, bool is_returning = false,
                     const std::vector<std::string>& known = {}) {
    return enter(scripts_, node, is_returning, known);
  }
  Registration enter(const Scripts& scripts, const NodeEntry& node, bool is_returning = false,
                     const std::vector<std::string>& known = {}) {
    std::optional<Registration> result;
    bool is_done = false;
    scripts.register_node(*client_, node, is_returning, known, [&](const Registration* answer) {
      is_done = true;
      if (answer != nullptr) result = *answer;
    });
    EXPECT_TRUE(loop_.run_until([&] { return is_done; }));
    EXPECT_TRUE(result);
    return result.value_or(Registration{});
  }

  ReapReport reap(const Scripts& scripts, const NodeEntry& node) {
    std::optional<ReapReport> result;
    bool is_done = false;
    scripts.reap(*client_, node, [&](const ReapReport* report) {
      is_done = true;
      if (report != nullptr) result = *report;
    });
    EXPECT_TRUE(loop_.run_until([&] { return is_done; }));
    EXPECT_TRUE(result);
    return result.value_or(ReapReport{});
  }
  ReapReport reap(const NodeEntry& node) { return reap(scripts_, node); }

  /// Reaps until `condition` holds for the report.
  template <typename F>
  bool reap_until(const Scripts& scripts, const NodeEntry& node, F&& condition) {
    return loop_.run_until([&] { return condition(reap(scripts, node)); });
  }

  RedisServer server_;
  TestLoop loop_;
  Client client_{loop_, {server_.host()}};
  ChannelNames names_{"t"};
  // The tests need not wait for a server that has just started.
  static constexpr std::int64_t kAtOnce = -2000;
  Scripts scripts_{names_, {.reconnect_ms = kAtOnce}};
  const std::string alice_chat_{names_.chat("alice_bob", Side::lo)};
  const std::string bob_chat_{names_.chat("alice_bob", Side::hi)};
  const std::string bob_push_{names_.push("bob")};
  const std::string inbox_ = names_.inbox(Incarnation::random());
};

// ---- decide

TEST_F(ScriptsTest, APresentReceiverGetsTheMessage) {
  Subscriber alice(server_, {alice_chat_, inbox_});
  Subscriber bob(server_, {bob_chat_, bob_push_});
  EXPECT_EQ(decide_from_alice(), "[1 1]");
  EXPECT_EQ(bob.read(), std::vector{bob_chat_ + " Mheader-value"});
  EXPECT_EQ(alice.read(), std::vector{alice_chat_ + " V1\0\0\0\1Mheader"s})
      << "alone on the channel: the header suffices";
}

TEST_F(ScriptsTest, OtherTabsOfTheSenderGetTheValue) {
  Subscriber alice(server_, {alice_chat_, inbox_});
  Subscriber tab(server_, {alice_chat_});
  Subscriber bob(server_, {bob_chat_});
  EXPECT_EQ(decide_from_alice(), "[1 1]");
  EXPECT_EQ(tab.read(), std::vector{alice_chat_ + " V1\0\0\0\1Mheader-value"s});
}

TEST_F(ScriptsTest, OtherNodesGetTheValueWhenTheOriginHasLostItsSubscriptions) {
  Subscriber tab(server_, {alice_chat_});
  Subscriber bob(server_, {bob_chat_});
  EXPECT_EQ(decide_from_alice(), "[1 1]");
  EXPECT_EQ(tab.read(), std::vector{alice_chat_ + " V1\0\0\0\1Mheader-value"s});
}

TEST_F(ScriptsTest, AnAbsentReceiverGetsAPush) {
  Subscriber alice(server_, {alice_chat_, inbox_});
  Subscriber bob(server_, {bob_push_});
  EXPECT_EQ(decide_from_alice(), "[2 1]");
  EXPECT_EQ(bob.read(), std::vector{bob_push_ + " Mheader-value"});
  EXPECT_EQ(alice.read(), std::vector{alice_chat_ + " V2\0\0\0\1Mheader"s});
}

TEST_F(ScriptsTest, NobodyIsThere) {
  Subscriber alice(server_, {alice_chat_, inbox_});
  EXPECT_EQ(decide_from_alice(), "[0 0]");
  EXPECT_EQ(alice.read(), std::vector{alice_chat_ + " V0\0\0\0\0Mheader"s});
}

TEST_F(ScriptsTest, ANotificationHasNoChatStep) {
  Subscriber node(server_, {inbox_});
  Subscriber bob(server_, {bob_chat_, bob_push_});
  const Scripts::Decide call{.push_channel = bob_push_, .echo_channel = inbox_, .inbox = inbox_};
  EXPECT_EQ(decide(call), "[2 1]");
  EXPECT_EQ(bob.read(), std::vector{bob_push_ + " Mheader-value"});
  EXPECT_EQ(node.read(), std::vector{inbox_ + " V2\0\0\0\1Mheader"s});
}

TEST_F(ScriptsTest, AClientThatWatchesAllChannelsIsNobody) {
  auto watcher = server_.client();
  for (const auto* pattern : {"*", "ws1:*"}) watcher.ask({"PSUBSCRIBE", pattern});
  Subscriber alice(server_, {alice_chat_, inbox_});
  EXPECT_EQ(decide_from_alice(), "[0 0]");
  EXPECT_EQ(alice.read(), std::vector{alice_chat_ + " V0\0\0\0\0Mheader"s});
  const auto node = entry("node-1");
  enter(node);
  EXPECT_EQ(decide_from_alice(), "[4 0]") << "node-1 may have him";
  Subscriber ready(server_, {names_.inbox(node.incarnation), names_.all()});
  Subscriber bob(server_, {bob_push_});
  EXPECT_EQ(decide_from_alice(), "[2 1]");
  EXPECT_EQ(bob.read(), std::vector{bob_push_ + " Mheader-value"});
  EXPECT_EQ(decide({.push_channel = bob_push_, .echo_channel = inbox_, .inbox = inbox_}), "[2 1]");
  Subscriber two(server_,
                 {bob_chat_, ChannelNames::bit(bob_chat_, 0), ChannelNames::bit(bob_chat_, 17)});
  EXPECT_EQ(decide_from_alice(), "[1 2]");
  std::size_t asked = 0;
  scripts_.ask(*client_, "Mframe", [&](const AskReport* report) {
    if (report != nullptr) asked = report->nodes;
  });
  EXPECT_TRUE(loop_.run_until([&] { return asked != 0; }));
  EXPECT_EQ(asked, 1U);
}

TEST_F(ScriptsTest, SocketsAreCountedByBits) {
  const std::vector<std::vector<std::size_t>> cases{{1},  {2},       {3, 1},        {16, 2, 1},
                                                    {17}, {1000, 3}, {65536, 65536}};
  for (const auto& nodes : cases) {
    std::size_t expected = 0;
    std::vector<std::unique_ptr<Subscriber>> subscribers;
    for (const auto sockets : nodes) {
      expected += sockets;
      auto& node = *subscribers.emplace_back(
          std::make_unique<Subscriber>(server_, std::vector<std::string>{}));
      const auto bits = ChannelNames::socket_bits(sockets);
      for (unsigned bit = 0; bit < ChannelNames::kBits; ++bit) {
        if ((bits >> bit & 1U) != 0) node.subscribe(ChannelNames::bit(bob_chat_, bit));
      }
      node.subscribe(bob_chat_);
    }
    EXPECT_EQ(decide_from_alice(), "[1 " + std::to_string(expected) + "]");
    for (const auto& node : subscribers) EXPECT_EQ(node->read().size(), 1U) << "not for each bit";
    subscribers.clear();
    // The server has noticed that they have gone.
    ASSERT_TRUE(loop_.run_until([&] { return decide_from_alice() == "[0 0]"; }));
  }
}

TEST_F(ScriptsTest, ALateMessageIsNotPublished) {
  Subscriber alice(server_, {alice_chat_, inbox_});
  Subscriber bob(server_, {bob_chat_, bob_push_});
  const Scripts::Decide call{.chat_channel = bob_chat_,
                             .push_channel = bob_push_,
                             .echo_channel = alice_chat_,
                             .inbox = inbox_,
                             .deadline_ms = *client_->server_time_ms() - 1};
  EXPECT_EQ(decide(call), "[3 0]");
  EXPECT_TRUE(bob.read().empty());
  EXPECT_EQ(alice.read(), std::vector{inbox_ + " V3\0\0\0\0Mheader"s}) << "to the origin alone";
}

TEST_F(ScriptsTest, APausedServerRefusesWhatIsLateWhenItGoesOn) {
  Subscriber bob(server_, {bob_chat_});
  server_.pause();
  const auto deadline = *client_->server_time_ms() + 100;
  std::optional<std::string> late;
  std::optional<std::string> in_time;
  Scripts::Decide call{.chat_channel = bob_chat_,
                       .push_channel = bob_push_,
                       .echo_channel = alice_chat_,
                       .inbox = inbox_,
                       .deadline_ms = deadline,
                       .frame = "M1",
                       .header_bytes = 1};
  scripts_.decide(*client_, call, [&](const Reply* reply) { late = to_line(*reply); });
  call.deadline_ms += 60'000;
  call.frame = "M2";
  scripts_.decide(*client_, call, [&](const Reply* reply) { in_time = to_line(*reply); });
  // Its clock has passed the deadline by then; the reply timeout has not.
  ASSERT_TRUE(loop_.run_until([&] { return *client_->server_time_ms() > deadline + 100; }));
  server_.resume();
  ASSERT_TRUE(loop_.run_until([&] { return late && in_time; }));
  EXPECT_EQ(*late, "[3 0]");
  EXPECT_EQ(*in_time, "[1 1]");
  EXPECT_EQ(bob.read(), std::vector{bob_chat_ + " M2"});
}

TEST_F(ScriptsTest, NobodyIsAbsentWhileANodeIsNotSubscribed) {
  const auto node = entry("node-1");
  Subscriber alice(server_, {alice_chat_, inbox_});
  enter(node);
  EXPECT_EQ(decide_from_alice(), "[4 0]");
  EXPECT_EQ(alice.read(), std::vector{inbox_ + " V4\0\0\0\0Mheader"s});
  {
    Subscriber push(server_, {bob_push_});
    EXPECT_EQ(decide_from_alice(), "[4 0]") << "a push would be a decision that he is absent";
    EXPECT_TRUE(push.read().empty());
    Subscriber chat(server_, {bob_chat_});
    EXPECT_EQ(decide_from_alice(), "[1 1]") << "who is there is there";
  }
  Subscriber ready(server_, {names_.inbox(node.incarnation), names_.all()});
  ASSERT_TRUE(loop_.run_until([&] { return decide_from_alice() == "[0 0]"; }));
}

// ---- other messages

TEST_F(ScriptsTest, PublishReachesEachChannel) {
  Subscriber both(server_, {alice_chat_, bob_chat_});
  Subscriber one(server_, {alice_chat_});
  const std::array<std::string_view, 2> channels{alice_chat_, bob_chat_};
  EXPECT_EQ(reply_of([&](auto handler) {
              return scripts_.publish(*client_, channels, "Mframe", handler);
            }),
            "1");
  EXPECT_EQ(both.read(), (std::vector{alice_chat_ + " Mframe", bob_chat_ + " Mframe"}));
  EXPECT_EQ(one.read(), std::vector{alice_chat_ + " Mframe"});
}

TEST_F(ScriptsTest, AskSaysWhetherAllNodesGotTheQuestion) {
  // Nodes that got it, and '+' if none is missing.
  const auto ask = [&] {
    std::optional<std::string> text;
    scripts_.ask(*client_, "Mframe", [&](const AskReport* report) {
      text = report == nullptr ? "nothing"
                               : std::to_string(report->nodes) + (report->is_settled ? "+" : "-");
    });
    EXPECT_TRUE(loop_.run_until([&] { return text.has_value(); }));
    return text.value_or("");
  };
  EXPECT_EQ(ask(), "nothing") << "nobody got it";
  const auto one = entry("one");
  Subscriber first(server_, {names_.inbox(one.incarnation), names_.all()});
  enter(one);
  EXPECT_EQ(ask(), "1+");
  EXPECT_EQ(first.read(), std::vector{names_.all() + " Mframe"});
  const auto two = entry("two");
  enter(two);
  EXPECT_EQ(ask(), "1-") << "the other one is about to return";
  Subscriber second(server_, {names_.all()});
  EXPECT_EQ(ask(), "2+");
  server_.ask({"HSET", names_.nodes_key(), "?", "0"});
  EXPECT_EQ(ask(), "2-") << "nodes that nobody knows are about to return";
}

TEST_F(ScriptsTest, SayTellsBothSides) {
  const auto say = [&](Side own) {
    EXPECT_EQ(reply_of([&](auto handler) {
                return scripts_.say(*client_, "alice_bob", own, inbox_, handler);
              }),
              "1");
  };
  Subscriber inbox(server_, {inbox_});
  Subscriber bob(server_, {bob_chat_});
  say(Side::lo);
  EXPECT_EQ(bob.read(), std::vector{bob_chat_ + " S00alice_bob"}) << "alice is absent";
  EXPECT_EQ(inbox.read(), std::vector{inbox_ + " S11alice_bob"}) << "bob is present";
  Subscriber alice(server_, {alice_chat_});
  say(Side::lo);
  EXPECT_EQ(bob.read(), std::vector{bob_chat_ + " S10alice_bob"});
  enter(entry("node-1"));  // it is not subscribed
  say(Side::hi);
  EXPECT_EQ(alice.read(), std::vector{alice_chat_ + " S11alice_bob"});
  const std::string channel(names_.chat("carol_dave", Side::hi));
  Subscriber carol(server_, {channel});
  reply_of([&](auto handler) {
    return scripts_.say(*client_, "carol_dave", Side::lo, inbox_, handler);
  });
  EXPECT_EQ(carol.read(), std::vector{channel + " S20carol_dave"}) << "carol may be on node-1";
}

TEST_F(ScriptsTest, ReachableIsWhoHasAPushSocket) {
  const std::string channel(names_.reachable("bob"));
  const auto say = [&] {
    reply_of([&](auto handler) { return scripts_.say_reachable(*client_, "bob", handler); });
  };
  Subscriber alice(server_, {channel});
  say();
  EXPECT_EQ(alice.read(), std::vector{channel + " R0bob"});
  Subscriber bob(server_, {bob_push_});
  say();
  EXPECT_EQ(alice.read(), std::vector{channel + " R1bob"});
}

TEST_F(ScriptsTest, RecountAnswersForManyChannels) {
  Subscriber inbox(server_, {inbox_});
  Subscriber bob(server_, {bob_chat_});
  std::vector<std::string_view> channels(500, alice_chat_);
  channels[7] = bob_chat_;
  const auto recount = [&] {
    reply_of(
        [&](auto handler) { return scripts_.recount(*client_, inbox_, 258, channels, handler); });
    const auto read = inbox.read();
    EXPECT_EQ(read.size(), 1U);
    return read.front().substr(inbox_.size() + 1);
  };
  std::string states(500, '0');
  states[7] = '1';
  EXPECT_EQ(recount(), "Q\0\0\1\2"s + states);
  enter(entry("node-1"));
  std::ranges::replace(states, '0', '2');
  EXPECT_EQ(recount(), "Q\0\0\1\2"s + states);
}

// ---- the table of nodes

TEST_F(ScriptsTest, ANodeEntersAndLeaves) {
  const auto one = entry("node-1");
  const auto two = entry("node-2");
  Subscriber watcher(server_, {names_.all()});
  // The watcher stands for node-1's last subscription.
  EXPECT_EQ(enter(one).status, Registration::Status::entered);
  Subscriber one_inbox(server_, {names_.inbox(one.incarnation)});
  EXPECT_EQ(enter(two).status, Registration::Status::entered);
  auto report = reap(one);
  EXPECT_TRUE(report.is_member);
  EXPECT_FALSE(report.is_settled);
  EXPECT_THAT(report.nodes, testing::UnorderedElementsAre("node-1", "node-2"));
  EXPECT_TRUE(report.paused.empty());
  EXPECT_TRUE(report.to_kill.empty());
  {
    Subscriber two_ready(server_, {names_.inbox(two.incarnation), names_.all()});
    EXPECT_EQ(
        reply_of([&](auto handler) { return scripts_.announce_ready(*client_, two, handler); }),
        "1");
    EXPECT_EQ(watcher.read(), std::vector{names_.all() + " A1" + two.incarnation.hex() + "node-2"});
    EXPECT_TRUE(reap(one).is_settled);
  }
  reply_of([&](auto handler) { return scripts_.leave(*client_, two, handler); });
  EXPECT_EQ(watcher.read(), std::vector{names_.all() + " G1" + two.incarnation.hex() + "node-2"});
  EXPECT_THAT(reap(one).nodes, testing::ElementsAre("node-1"));
  EXPECT_FALSE(reap(two).is_member);
}

TEST_F(ScriptsTest, TheTableSaysWhichNodesAreReady) {
  const auto one = entry("node-1");
  const auto two = entry("node-2");
  const auto table = [&] {
    std::vector<TableEntry> result;
    bool is_done = false;
    scripts_.list_nodes(*client_, one, [&](const std::vector<TableEntry>* found) {
      is_done = true;
      if (found != nullptr) result = *found;
    });
    EXPECT_TRUE(loop_.run_until([&] { return is_done; }));
    std::vector<std::string> texts;
    for (const auto& node : result) {
      EXPECT_GE(node.silent_ms, 0);
      texts.push_back(node.name + " " + node.incarnation + (node.is_ready ? " ready" : ""));
    }
    return texts;
  };
  const auto ready = [&](const NodeEntry& node) {
    reply_of([&](auto handler) { return scripts_.announce_ready(*client_, node, handler); });
  };
  // The server waits for a node that node-1 has known.
  enter(one, false, {"node-3"});
  ready(one);
  enter(two);
  Subscriber inbox(server_, {names_.inbox(one.incarnation)});
  using testing::UnorderedElementsAre;
  EXPECT_THAT(table(), UnorderedElementsAre("node-1 " + one.incarnation.hex() + " ready",
                                            "node-2 " + two.incarnation.hex(), "node-3 "));
  ready(two);
  EXPECT_THAT(table(), testing::Contains("node-2 " + two.incarnation.hex()))
      << "nobody is subscribed to its inbox";
  inbox.subscribe(names_.inbox(two.incarnation));
  EXPECT_THAT(table(), testing::Contains("node-2 " + two.incarnation.hex() + " ready"));
  const auto again = next(two);
  enter(again, true);
  inbox.subscribe(names_.inbox(again.incarnation));
  EXPECT_THAT(table(), testing::Contains("node-2 " + again.incarnation.hex()))
      << "it has not subscribed everything again";
}

TEST_F(ScriptsTest, ASecondNodeOfANameIsRefused) {
  const auto one = entry("node-1");
  const auto other = entry("node-1");
  enter(one);
  {
    Subscriber inbox(server_, {names_.inbox(one.incarnation)});
    const auto refused = enter(other);
    EXPECT_EQ(refused.status, Registration::Status::name_taken);
    EXPECT_TRUE(refused.old_connections.empty());
    EXPECT_EQ(enter(other).heard_ms, refused.heard_ms) << "it was not heard of meanwhile";
    ASSERT_TRUE(loop_.run_until([&] {
      EXPECT_TRUE(reap(one).is_member) << "nothing was changed";
      return enter(other).heard_ms > refused.heard_ms;
    }));
    // The same process with a new connection may, and learns which ones to close.
    const auto answer = enter(next(one));
    EXPECT_EQ(answer.status, Registration::Status::entered);
    EXPECT_THAT(answer.old_connections, testing::ElementsAre("100001", "100002"));
  }
  // So may another process once the first one has gone.
  ASSERT_TRUE(loop_.run_until(
      [&] { return enter(entry("node-1")).status == Registration::Status::entered; }));
}

TEST_F(ScriptsTest, ANodeWhoseHostIsLostGivesUpItsName) {
  // After a pause of the server, which a slow machine makes too, its silence counts anew.
  const Scripts quick(names_, {.silence_ms = 100, .pause_ms = 200, .reconnect_ms = kAtOnce});
  const auto lost = entry("node-1");
  Subscriber inbox(server_, {names_.inbox(lost.incarnation)});
  enter(quick, lost);
  const auto again = entry("node-1");
  EXPECT_EQ(enter(quick, again).status, Registration::Status::name_taken);
  Registration answer;
  ASSERT_TRUE(loop_.run_until([&] {
    answer = enter(quick, again);
    return answer.status == Registration::Status::entered;
  }));
  EXPECT_THAT(answer.old_connections, testing::ElementsAre("100001", "100002"));
}

TEST_F(ScriptsTest, ANodeEntersOnlyIfItsSettingsFitThoseOfTheOthers) {
  const std::string a(16, 'a');
  const std::string b(16, 'b');
  const auto with = [this](const std::string& name, const std::string& settings) {
    auto made = entry(name);
    made.settings = settings;
    return made;
  };
  const auto one = with("node-1", "1/2:" + a);
  Subscriber inbox(server_, {names_.inbox(one.incarnation)});
  enter(one);
  const std::vector<std::pair<std::string, std::string>> cases{
      {"1/2:" + a, ""},
      {"1/2:" + a + "," + b, ""},
      {"1/2:" + b + "," + a, "other_keys"},  // the second step before the first
      {"1/2:" + b, "own_keys"},
      {"1/1:" + a, "1/2"},
      {"2/2:" + a, "1/2"},
  };
  for (const auto& [settings, difference] : cases) {
    const auto node = with("node-2", settings);
    const auto answer = enter(node);
    std::vector<TableEntry> table;
    bool is_done = false;
    scripts_.list_nodes(*client_, node, [&](const std::vector<TableEntry>* found) {
      is_done = true;
      if (found != nullptr) table = *found;
    });
    EXPECT_TRUE(loop_.run_until([&] { return is_done; }));
    for (const auto& other : table) {
      EXPECT_EQ(other.difference, other.name == "node-1" ? difference : "") << settings;
    }
    EXPECT_EQ(answer.difference, difference) << settings;
    if (difference.empty()) {
      EXPECT_EQ(answer.status, Registration::Status::entered) << settings;
      reply_of([&](auto handler) { return scripts_.leave(*client_, node, handler); });
    } else {
      EXPECT_EQ(answer.status, Registration::Status::settings_differ) << settings;
      EXPECT_EQ(answer.node, "node-1");
      EXPECT_EQ(table.size(), 1U) << "nothing was changed";
    }
  }
  // Each step of a key change, on one node after the other.
  EXPECT_EQ(enter(with("node-2", "1/2:" + a + "," + b)).difference, "");
  EXPECT_EQ(enter(with("node-1", "1/2:" + a + "," + b)).difference, "");
}

TEST_F(ScriptsTest, ANodeThatIsGoneKeepsNoOtherFromEntering) {
  const Scripts quick(names_, {.silence_ms = 50, .return_ms = 100, .reconnect_ms = kAtOnce});
  auto dead = entry("node-1");
  dead.settings = "1/1:" + std::string(16, 'a');
  enter(quick, dead);
  auto fresh = entry("node-2");
  fresh.settings = "1/2:" + std::string(16, 'b');
  ASSERT_TRUE(
      loop_.run_until([&] { return enter(quick, fresh).status == Registration::Status::entered; }));
}

TEST_F(ScriptsTest, ANodeThatDidNotFitIsNotTheFirstOnAServerThatLostItsTable) {
  const Scripts usual(names_, {.reconnect_ms = 20'000});
  auto one = entry("node-1");
  one.settings = "1/1:" + std::string(16, 'a');
  enter(one);
  auto other = entry("node-2");
  other.settings = "1/1:" + std::string(16, 'b');
  EXPECT_EQ(enter(other).status, Registration::Status::settings_differ);
  other.settings_differ = true;
  restart();
  other = next(other);
  auto answer = enter(usual, other);
  EXPECT_EQ(answer.status, Registration::Status::settings_differ) << "node-1 is about to return";
  EXPECT_EQ(answer.node, "");
  auto restarted = entry("node-3");
  restarted.settings = other.settings;
  EXPECT_EQ(enter(usual, restarted).status, Registration::Status::others_awaited);
  one = next(one);
  EXPECT_EQ(enter(usual, one, true).status, Registration::Status::entered);
  restart();
  // Nobody returns, and nobody removes the entry for unknown nodes.
  const Scripts quick(names_, {.reconnect_ms = 1000});
  other = next(other);
  ASSERT_TRUE(
      loop_.run_until([&] { return enter(quick, other).status == Registration::Status::entered; }));
}

TEST_F(ScriptsTest, ConnectionsOfAnEarlierRunAreNotClosed) {
  auto old = entry("node-1");
  old.run_id = "another-run";
  enter(old);
  EXPECT_TRUE(enter(next(old)).old_connections.empty()) << "their numbers belong to others now";
}

TEST_F(ScriptsTest, AKilledNodeIsRemoved) {
  const Scripts quick(
      names_,
      {.silence_ms = 50, .return_ms = 1'000'000, .pause_ms = 1'000'000, .reconnect_ms = kAtOnce});
  const auto one = entry("node-1");
  const auto dead = entry("node-2");
  Subscriber watcher(server_, {names_.all(), names_.inbox(one.incarnation)});
  enter(one);
  enter(dead);
  EXPECT_TRUE(reap(quick, dead).is_member);
  ASSERT_TRUE(reap_until(quick, one, [](const auto& report) { return report.nodes.size() == 1; }));
  EXPECT_EQ(watcher.read(), std::vector{names_.all() + " G1" + dead.incarnation.hex() + "node-2"});
  EXPECT_FALSE(reap(quick, dead).is_member);
  auto returned = next(dead);
  EXPECT_EQ(enter(returned, true).status, Registration::Status::was_removed);
  // The answer may be lost.
  returned = next(returned);
  EXPECT_EQ(enter(returned, true).status, Registration::Status::was_removed);
  reply_of([&](auto handler) { return scripts_.announce_ready(*client_, returned, handler); });
  EXPECT_EQ(enter(next(returned), true).status, Registration::Status::entered) << "it knows";
}

TEST_F(ScriptsTest, ANodeWhoseNameWasGivenAwayWasRemoved) {
  const auto one = entry("node-1");
  enter(one);
  const auto other = entry("node-1");
  enter(other);
  EXPECT_EQ(enter(next(one), true).status, Registration::Status::was_removed);
  EXPECT_EQ(enter(entry("node-2")).status, Registration::Status::entered);
  EXPECT_EQ(enter(entry("node-3"), true).status, Registration::Status::was_removed)
      << "the table is whole, and the others do not know it";
}

TEST_F(ScriptsTest, ASubscribedOrTalkingNodeIsNotRemoved) {
  const Scripts quick(
      names_,
      {.silence_ms = 50, .return_ms = 1'000'000, .pause_ms = 1'000'000, .reconnect_ms = kAtOnce});
  const auto one = entry("node-1");
  const auto silent = entry("node-2");   // but subscribed
  const auto talking = entry("node-3");  // but its subscriptions are lost
  Subscriber watcher(server_, {names_.all(), names_.inbox(one.incarnation)});
  Subscriber inbox(server_, {names_.inbox(silent.incarnation)});
  for (const auto& node : {one, silent, talking}) enter(node);
  const auto until = *client_->server_time_ms() + 300;
  while (*client_->server_time_ms() < until) {
    EXPECT_TRUE(reap(quick, talking).is_member);
    EXPECT_EQ(reap(quick, one).nodes.size(), 3U);
  }
  EXPECT_FALSE(reap(quick, one).is_settled);
  EXPECT_TRUE(watcher.read().empty());
}

TEST_F(ScriptsTest, ANodeThatIsAboutToEnterAgainIsNotRemoved) {
  const Scripts quick(
      names_, {.silence_ms = 50, .return_ms = 300, .pause_ms = 1'000'000, .reconnect_ms = kAtOnce});
  const auto one = entry("node-1");
  const auto two = entry("node-2");
  Subscriber inbox(server_, {names_.inbox(one.incarnation)});
  enter(one);
  enter(two);
  reap(quick, two);
  // Its new inbox is not subscribed yet.
  const auto until = *client_->server_time_ms() + 300;
  while (*client_->server_time_ms() < until) {
    EXPECT_FALSE(reap(quick, next(two)).is_member);
    EXPECT_EQ(reap(quick, one).nodes.size(), 2U);
  }
  EXPECT_EQ(enter(quick, next(two), true).status, Registration::Status::entered);
  // Another process of that name does not speak for it.
  ASSERT_TRUE(loop_.run_until([&] {
    reap(quick, entry("node-2"));
    return reap(quick, one).nodes.size() == 1;
  }));
}

TEST_F(ScriptsTest, APausedNodeIsReported) {
  const Scripts quick(
      names_,
      {.silence_ms = 1'000'000, .return_ms = 1'000'000, .pause_ms = 50, .reconnect_ms = kAtOnce});
  const auto one = entry("node-1");
  const auto paused = entry("node-2");
  Subscriber watcher(server_, {names_.all(), names_.inbox(one.incarnation)});
  Subscriber inbox(server_, {names_.inbox(paused.incarnation)});
  enter(one);
  enter(paused);
  ReapReport report;
  ASSERT_TRUE(reap_until(quick, one, [&](const auto& got) {
    report = got;
    return !got.paused.empty();
  }));
  EXPECT_THAT(report.paused, testing::ElementsAre("node-2"));
  EXPECT_THAT(report.to_kill, testing::ElementsAre("100001", "100002"));
  EXPECT_EQ(report.nodes.size(), 2U) << "it stays until its connections are closed";
}

TEST_F(ScriptsTest, AfterAPauseOfTheServerNodesHaveTimeToReturn) {
  const Scripts quick(
      names_,
      {.silence_ms = 100, .return_ms = 500, .pause_ms = 1'000'000, .reconnect_ms = kAtOnce});
  const auto one = entry("node-1");
  const auto two = entry("node-2");
  Subscriber watcher(server_, {names_.all(), names_.inbox(one.incarnation)});
  enter(one);
  enter(two);
  reap(quick, two);
  reap(quick, one);
  // Nobody is served for longer than a node may be silent.
  server_.pause();
  const auto until = *client_->server_time_ms() + 300;
  ASSERT_TRUE(loop_.run_until([&] { return *client_->server_time_ms() > until; }));
  server_.resume();
  EXPECT_EQ(reap(quick, one).nodes.size(), 2U) << "it has not been its own silence";
  ASSERT_TRUE(reap_until(quick, one, [](const auto& report) { return report.nodes.size() == 1; }))
      << "but not for ever";
}

TEST_F(ScriptsTest, AClockThatIsSetBackKeepsNoNodeInTheTable) {
  const Scripts quick(
      names_, {.silence_ms = 50, .return_ms = 500, .pause_ms = 1'000'000, .reconnect_ms = kAtOnce});
  const auto one = entry("node-1");
  const auto dead = entry("node-2");
  Subscriber watcher(server_, {names_.all(), names_.inbox(one.incarnation)});
  enter(one);
  enter(dead);
  reap(quick, dead);
  reap(quick, one);
  // As if it had been an hour ahead until now.
  const auto ahead = std::to_string(*client_->server_time_ms() + 3'600'000);
  server_.ask({"HSET", names_.run_key(), "since", ahead, "last", ahead});
  server_.ask({"HSET", names_.seen_key(), "node-1", ahead, "node-2", ahead});
  server_.ask({"HSET", names_.nodes_key(), "?", ahead});
  EXPECT_EQ(reap(quick, one).nodes.size(), 2U) << "it may return";
  EXPECT_EQ(decide_from_alice(), "[4 0]") << "node-2 may have him";
  ASSERT_TRUE(reap_until(quick, one, [](const auto& report) {
    return report.nodes.size() == 1 && report.is_settled;
  }));
  EXPECT_EQ(decide_from_alice(), "[0 0]");
}

TEST_F(ScriptsTest, AServerThatHasLostItsTableAwaitsThoseThatWereThere) {
  const Scripts quick(
      names_, {.silence_ms = 50, .return_ms = 300, .pause_ms = 1'000'000, .reconnect_ms = kAtOnce});
  auto one = entry("node-1");
  const auto two = entry("node-2");
  enter(one);
  enter(two);
  const auto known = reap(one).nodes;
  restart();
  one = next(one);
  EXPECT_EQ(enter(quick, one, true, known).status, Registration::Status::entered);
  Subscriber watcher(server_, {names_.all(), names_.inbox(one.incarnation)});
  EXPECT_EQ(decide_from_alice(), "[4 0]") << "node-2 may have him";
  EXPECT_THAT(reap(quick, one).nodes, testing::UnorderedElementsAre("node-1", "node-2"));
  ASSERT_TRUE(reap_until(quick, one, [](const auto& report) { return report.nodes.size() == 1; }));
  EXPECT_EQ(watcher.read(), std::vector{names_.all() + " G1" + std::string(32, '-') + "node-2"});
  EXPECT_EQ(decide_from_alice(), "[0 0]");
  EXPECT_EQ(enter(quick, next(two), true).status, Registration::Status::was_removed);
}

TEST_F(ScriptsTest, AServerThatHasJustStartedAwaitsNodesThatNobodyKnows) {
  const Scripts usual(names_);
  const auto ready = [&](const NodeEntry& node) {
    return std::make_unique<Subscriber>(server_,
                                        std::vector{names_.all(), names_.inbox(node.incarnation)});
  };
  auto old = entry("node-1");
  enter(old);
  restart();
  // The first one that comes has never heard of another.
  const auto fresh = entry("node-2");
  EXPECT_EQ(enter(usual, fresh).status, Registration::Status::others_awaited);
  EXPECT_EQ(decide_from_alice(), "[4 0]") << "node-1 may have him";
  old = next(old);
  EXPECT_EQ(enter(usual, old, true).status, Registration::Status::entered) << "it was awaited";
  const auto old_ready = ready(old);
  EXPECT_EQ(decide_from_alice(), "[4 0]") << "there may be others";
  const auto report = reap(usual, old);
  EXPECT_FALSE(report.is_settled);
  EXPECT_THAT(report.nodes, testing::ElementsAre("node-1"));
  old_ready->read();
  ASSERT_TRUE(reap_until(usual, old, [](const auto& now) { return now.is_settled; }));
  EXPECT_EQ(decide_from_alice(), "[0 0]");
  EXPECT_EQ(old_ready->read().at(0), names_.all() + " G1" + std::string(32, '-') + "?")
      << "all are told";
  EXPECT_EQ(enter(usual, fresh).status, Registration::Status::entered);
  EXPECT_EQ(enter(usual, entry("node-3"), true).status, Registration::Status::was_removed)
      << "too late";
  // Another cluster begins at once: the server has run for long.
  const Scripts other(ChannelNames("other"));
  const auto first = entry("node-1");
  enter(other, first);
  Subscriber first_ready(server_, {ChannelNames("other").all()});
  EXPECT_TRUE(reap(other, first).is_settled);
}

TEST_F(ScriptsTest, ATableThatSomebodyDeletedIsNotWhole) {
  const auto one = entry("node-1");
  enter(one);
  Subscriber one_ready(server_, {names_.all(), names_.inbox(one.incarnation)});
  EXPECT_TRUE(reap(one).is_settled);
  server_.ask({"FLUSHALL"});
  EXPECT_FALSE(reap(one).is_member);
  const Scripts usual(names_);
  const auto fresh = entry("node-2");
  EXPECT_EQ(enter(usual, fresh).status, Registration::Status::others_awaited);
  const auto returned = next(one);
  EXPECT_EQ(enter(usual, returned, true).status, Registration::Status::entered);
  Subscriber returned_ready(server_, {names_.all(), names_.inbox(returned.incarnation)});
  EXPECT_FALSE(reap(usual, returned).is_settled);
}

TEST_F(ScriptsTest, APromotedReplicaMayLackNodes) {
  await_uptime();
  const Scripts usual(names_, {.reconnect_ms = 1});
  enter(usual, entry("node-1"));
  EXPECT_EQ(server_.ask({"HEXISTS", names_.nodes_key(), "?"}), "0");
  const auto awaits_after_promotion = [&] {
    server_.ask({"REPLICAOF", "127.0.0.1", "1"});
    server_.ask({"REPLICAOF", "NO", "ONE"});
    EXPECT_TRUE(client_.run_until_ready());
    load();
    enter(usual, entry("node-1"));
    return server_.ask({"HEXISTS", names_.nodes_key(), "?"});
  };
  server_.ask({"FLUSHALL"});
  EXPECT_EQ(awaits_after_promotion(), "1");
  // Once more, and the same process has its own table of before.
  server_.ask({"HDEL", names_.nodes_key(), "?"});
  EXPECT_EQ(awaits_after_promotion(), "1");
}

// Its replication id changes with both.
TEST_F(ScriptsTest, AServerThatGetsOrLosesAReplicaHasItsTable) {
  await_uptime();
  const Scripts usual(names_, {.reconnect_ms = 1});
  const auto one = entry("node-1");
  enter(usual, one);
  const auto port = std::to_string(free_port());
  ASSERT_EQ(server_.ask({"CONFIG", "SET", "repl-backlog-ttl", "1", "port", port}), "OK");
  const auto replication_id = [&] {
    const auto info = server_.ask({"INFO", "replication"});
    return info.substr(info.find("master_replid:"), 54);
  };
  const auto at_first = replication_id();
  std::string with_replica;
  {
    const RedisServer replica({"--replicaof", "127.0.0.1 " + port});
    ASSERT_TRUE(eventually([&] { return replication_id() != at_first; }));
    with_replica = replication_id();
    reap(usual, one);
    EXPECT_EQ(server_.ask({"HEXISTS", names_.nodes_key(), "?"}), "0");
  }
  ASSERT_TRUE(eventually([&] { return replication_id() != with_replica; }));
  reap(usual, one);
  EXPECT_EQ(server_.ask({"HEXISTS", names_.nodes_key(), "?"}), "0");
}

TEST_F(ScriptsTest, ATableFromAFileMayLackNodes) {
  await_uptime();
  server_.ask({"HSET", names_.nodes_key(), "node-1", "-"});
  const Scripts usual(names_, {.reconnect_ms = 1});
  enter(usual, entry("node-2"));
  EXPECT_EQ(server_.ask({"HEXISTS", names_.nodes_key(), "?"}), "1");
}

TEST_F(ScriptsTest, ABrokenEntryDoesNotStopTheTable) {
  const auto one = entry("node-1");
  enter(one);
  server_.ask({"HSET", names_.nodes_key(), "node-2", "of another version"});
  EXPECT_EQ(reap(one).nodes.size(), 2U);
}

// ---- replicas and files

TEST_F(ScriptsTest, APrimaryWithoutEnoughReplicasLosesItsNodes) {
  const auto node = entry("node-1");
  enter(node);
  server_.ask({"CONFIG", "SET", "min-replicas-to-write", "1"});
  bool is_done = false;
  scripts_.reap(*client_, node, [&](const ReapReport* report) {
    is_done = true;
    EXPECT_EQ(report, nullptr);
  });
  ASSERT_TRUE(loop_.run_until([&] { return is_done; }));
  EXPECT_EQ(client_.recorder.lost, 1);
  EXPECT_NE(client_.recorder.last_reason().find("NOREPLICAS"), std::string::npos);
}

TEST_F(ScriptsTest, MessagesGoToNoReplica) {
  TemporaryFolder folder;
  // As a replica sees it: the stream of commands after the snapshot.
  RedisServer replica({"--replicaof", "127.0.0.1 1"});
  RedisServer primary({}, free_port());
  Client client(loop_, {primary.host()});
  ASSERT_TRUE(client.run_until_ready());
  replica.ask({"REPLICAOF", "127.0.0.1", std::to_string(primary.port())});
  ASSERT_TRUE(eventually([&] {
    return replica.ask({"INFO", "replication"}).find("master_link_status:up") != std::string::npos;
  }));
  BlockingClient replica_sees = replica.client();
  for (const auto& channel : {bob_chat_, bob_push_, alice_chat_, names_.all()}) {
    replica_sees.ask({"SUBSCRIBE", channel});
  }
  Subscriber bob(primary, {bob_chat_});
  std::optional<std::string> loaded;
  scripts_.load(*client, [&](std::string problem) { loaded = problem; });
  ASSERT_TRUE(loop_.run_until([&] { return loaded.has_value(); }));
  const Scripts::Decide call{.chat_channel = bob_chat_,
                             .push_channel = bob_push_,
                             .echo_channel = alice_chat_,
                             .inbox = inbox_,
                             .deadline_ms = *client->server_time_ms() + 10'000,
                             .frame = "Mframe",
                             .header_bytes = 1};
  bool is_done = false;
  scripts_.decide(*client, call, [&](const Reply*) { is_done = true; });
  ASSERT_TRUE(loop_.run_until([&] { return is_done; }));
  is_done = false;
  auto node = entry("node-1");
  node.run_id = client->run_id();
  scripts_.register_node(*client, node, false, {}, [&](const Registration*) { is_done = true; });
  ASSERT_TRUE(loop_.run_until([&] { return is_done; }));
  EXPECT_EQ(bob.read().size(), 1U);
  // The table is replicated. What was published before it would have come before it.
  ASSERT_TRUE(eventually([&] {
    return replica.ask({"HEXISTS", names_.nodes_key(), "node-1"}) == "1";
  }));
  replica_sees.send({"PING", "end"});
  EXPECT_EQ(replica_sees.receive(), "[pong end]");
  EXPECT_EQ(replica.ask({"EXISTS", names_.seen_key()}), "0");
}

}  // namespace
}  // namespace waystation::test
