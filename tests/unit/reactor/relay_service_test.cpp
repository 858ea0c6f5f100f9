#include "reactor/relay_service.hpp"

#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "support/websocket_client.hpp"
#include "unit/reactor/reactor_setup.hpp"
#include "unit/relay/late_backplane.hpp"

namespace waystation::test {
namespace {

using namespace std::chrono_literals;
using test::close_frame;
using test::eventually;
using test::frame;
using test::Listener;
using test::WebSocketClient;

struct Heard {
  Outcome outcome;
  std::string group, from, to, id;
  std::size_t reached, bytes;
  friend bool operator==(const Heard&, const Heard&) = default;
};

/// Records the outcomes that the service reports.
class Listening final : public Observer {
 public:
  void on_delivery(const Delivery& d) noexcept override {
    const std::lock_guard lock(mutex_);
    heard_.push_back({d.outcome, std::string(d.group), std::string(d.from), std::string(d.to),
                      std::string(d.id), d.reached, d.bytes});
    if (d.outcome == Outcome::dropped) reasons_.push_back(d.reason);
  }
  void on_error_sent(ErrorCode) noexcept override {}

  std::vector<Heard> all() {
    const std::lock_guard lock(mutex_);
    return heard_;
  }
  std::vector<Heard> dropped() {
    auto heard = all();
    std::erase_if(heard, [](const Heard& h) { return h.outcome != Outcome::dropped; });
    return heard;
  }
  /// Why those were dropped.
  std::vector<EndReason> reasons() {
    const std::lock_guard lock(mutex_);
    return reasons_;
  }

 private:
  std::mutex mutex_;
  std::vector<Heard> heard_;
  std::vector<EndReason> reasons_;
};

std::int64_t wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// Keeps tokens until the test answers.
class Refresher final : public TokenRefresher {
 public:
  void refresh(std::string user, std::string token, Answer answer) override {
    const std::lock_guard lock(mutex_);
    asked_.push_back({std::move(user), std::move(token), std::move(answer)});
  }

  struct Asked {
    std::string user, token;
    Answer answer;
  };
  Asked next() {
    std::optional<Asked> asked;
    EXPECT_TRUE(eventually([&] { return (asked = take()).has_value(); }));
    return std::move(asked).value_or(Asked{});
  }
  /// Empty if none came until then.
  std::optional<Asked> next_before(std::int64_t at_ms) {
    std::optional<Asked> asked;
    eventually([&] { return (asked = take()).has_value() || wall_ms() >= at_ms; });
    return asked;
  }

 private:
  std::optional<Asked> take() {
    const std::lock_guard lock(mutex_);
    if (asked_.empty()) return std::nullopt;
    auto asked = std::move(asked_.front());
    asked_.erase(asked_.begin());
    return asked;
  }

  std::mutex mutex_;
  std::vector<Asked> asked_;
};

class RelayServiceTest : public testing::Test {
 protected:
  static RelayOptions options() { return {without_pings(), {}}; }

  void start(const RelayOptions& options = RelayServiceTest::options(), int server_buffer = 0) {
    server_.emplace("127.0.0.1", false, server_buffer);
    service_.emplace(options, &listening_, &refresher_);
  }

  WebSocketClient open(SessionParameters parameters, int client_buffer = 0) {
    WebSocketClient client(
        test::connect_to({"127.0.0.1", server_->port()}, nullptr, client_buffer));
    const auto accepted = server_->accept();
    auto adopted = adopt_socket({accepted.get(), "", 0, 0});
    EXPECT_TRUE(service_->open(*adopted, std::string(kResponse), nullptr, std::move(parameters)));
    EXPECT_EQ(client.read_head(), kResponse);
    return client;
  }

  WebSocketClient chat(std::string user, Protocol protocol = Protocol::plain,
                       std::string group = "alice_bob", int client_buffer = 0) {
    return open({SocketKind::chat, protocol, std::move(group), std::move(user), 0}, client_buffer);
  }
  WebSocketClient push(std::string user, Protocol protocol = Protocol::plain,
                       int client_buffer = 0) {
    return open({SocketKind::push, protocol, "", std::move(user), 0}, client_buffer);
  }

  std::size_t notified(const std::string& user, const std::string& json) {
    return service_->notify(user, json, 20s)->sockets;
  }
  UserPresence presence(const std::string& user) { return *service_->presence(user, 20s); }

  static constexpr int kManyMessages = 60;
  /// Sends so many messages that the refill meanwhile does not matter. Returns how many were
  /// accepted.
  static int say_many(WebSocketClient& client) {
    std::string frames;
    for (int i = 0; i < kManyMessages; ++i) frames += frame(Opcode::text, R"({"message":1})");
    client.send(frames);
    int taken = 0;
    for (int i = 0; i < kManyMessages; ++i) {
      const auto verdict = client.hear();
      if (verdict.find("\"ack\"") != std::string::npos) {
        ++taken;
      } else {
        EXPECT_NE(verdict.find("rate_limited"), std::string::npos) << verdict;
      }
    }
    return taken;
  }

  static bool is_stuck(const WebSocketClient& client) {
    int waiting = 0;
    return ioctl(client.get(), FIONREAD, &waiting) == 0 && waiting > 0;
  }

  Listening listening_;
  Refresher refresher_;
  std::optional<Listener> server_;
  std::optional<RelayService> service_;
};

TEST_F(RelayServiceTest, RelaysMessagesAndCountsThem) {
  start();
  auto alice = chat("alice", Protocol::v1);
  EXPECT_EQ(alice.hear(), R"({"presence":{"user":"bob","present":false,"reachable":false}})");
  auto bob_push = push("bob");
  EXPECT_EQ(alice.hear(), R"({"presence":{"user":"bob","present":false,"reachable":true}})");
  alice.say(R"({"message":1e400,"id":"x1"})");
  EXPECT_EQ(bob_push.hear(), R"({"event":{"message":1e400,"group":"alice_bob"}})");
  EXPECT_NE(alice.hear().find(R"("route":"push","reached":1)"), std::string::npos);
  auto bob = chat("bob");
  EXPECT_EQ(alice.hear(), R"({"presence":{"user":"bob","present":true,"reachable":true}})");
  alice.say(R"({"message":"hi"})");
  EXPECT_EQ(bob.hear(), R"({"message":"hi"})");
  alice.say("nonsense");
  alice.say(R"({"message":2,"to_user":"carol"})");

  const auto& stats = service_->stats();
  EXPECT_TRUE(eventually([&] { return stats.errors_sent == 2; }));
  EXPECT_EQ(stats.errors_by_code[static_cast<std::size_t>(ErrorCode::bad_json)], 1U);
  EXPECT_EQ(stats.errors_by_code[static_cast<std::size_t>(ErrorCode::not_a_member)], 1U);
  EXPECT_EQ(stats.chat_sockets, 2U);
  EXPECT_EQ(stats.push_sockets, 1U);
  EXPECT_EQ(stats.groups, 1U);
  EXPECT_EQ(stats.accepted, 3U);
  EXPECT_EQ(stats.messages_chat, 1U);
  EXPECT_EQ(stats.messages_pushed, 1U);
  EXPECT_EQ(listening_.all(),
            (std::vector<Heard>{{Outcome::pushed, "alice_bob", "alice", "bob", "x1", 1, 5}}));
  alice.vanish();
  bob.vanish();
  bob_push.vanish();
  EXPECT_TRUE(eventually([&] { return stats.chat_sockets == 0 && stats.push_sockets == 0; }));
  EXPECT_TRUE(eventually([&] { return stats.groups == 0; }));
}

TEST_F(RelayServiceTest, AClientWithA101IsPresent) {
  start();
  for (int i = 0; i < 50; ++i) {
    auto bob = chat("bob");
    EXPECT_EQ(presence("bob").groups, std::vector<std::string>{"alice_bob"});
    bob.reset();
    ASSERT_TRUE(eventually([&] { return presence("bob").groups.empty(); }));
  }
}

/// Remembers which upgrades were refused.
class RefusalLog final : public SocketLog {
 public:
  void on_error_frame(const void*, std::string_view, ErrorCode,
                      std::string_view) noexcept override {}
  void on_close(const void*, std::string_view, EndReason, CloseCode) noexcept override {}
  std::string on_refused(const void*, std::string_view user, EndReason) override {
    user_ = user;
    return std::string(kRefusal);
  }
  std::string user_;
};

TEST_F(RelayServiceTest, ABackplaneForSeveralNodesAnswersForAllOfThem) {
  service_.emplace(options(), nullptr, nullptr, nullptr, nullptr,
                   [](Loop&, Directory& directory, Fanout& fanout, Reachability&, NodeCalls&) {
                     return std::make_unique<LateBackplane>(directory, fanout, nullptr, true);
                   });
  const auto missed = service_->missed("alice", {}, false, kPatience);
  ASSERT_TRUE(missed && *missed);
  EXPECT_EQ((*missed)->next, "1-1-1-late");
  const auto page = service_->list_users("bob", 1, kPatience);
  ASSERT_TRUE(page);
  EXPECT_TRUE(page->is_partial);
  EXPECT_EQ(page->users.front().name.view(), "bob");
}

TEST_F(RelayServiceTest, A101FollowsTheConfirmationOfTheJoin) {
  RefusalLog log;
  LateBackplane* late = nullptr;
  server_.emplace();
  service_.emplace(options(), &listening_, &refresher_, &log, nullptr,
                   [&](Loop&, Directory& directory, Fanout& fanout, Reachability&, NodeCalls&) {
                     auto made = std::make_unique<LateBackplane>(directory, fanout);
                     late = made.get();
                     return made;
                   });
  WebSocketClient alice(test::connect_to({"127.0.0.1", server_->port()}));
  auto adopted = adopt_socket({server_->accept().get(), "", 0, 0});
  ASSERT_TRUE(service_->open(*adopted, std::string(kResponse), nullptr,
                             {SocketKind::chat, Protocol::v1, "alice_bob", "alice", 0},
                             frame(Opcode::text, R"({"ping":1})")));
  alice.say(R"({"ping":2})");
  // A task that is posted now runs after the join.
  const auto run = [&](const std::function<void()>& task) {
    std::promise<void> done;
    service_->post([&] {
      task();
      done.set_value();
    });
    done.get_future().wait();
  };
  run([&] {
    EXPECT_EQ(service_->stats().chat_sockets, 0U);
    EXPECT_EQ(service_->stats().accepted, 0U);
    late->answer_all();
  });
  EXPECT_EQ(alice.read_head(), kResponse);
  EXPECT_EQ(alice.hear(), R"({"presence":{"user":"bob","present":false,"reachable":false}})");
  EXPECT_EQ(alice.hear(), R"({"pong":1})");
  EXPECT_EQ(alice.hear(), R"({"pong":2})");
  EXPECT_EQ(service_->stats().accepted, 1U);

  WebSocketClient bob(test::connect_to({"127.0.0.1", server_->port()}));
  auto second = adopt_socket({server_->accept().get(), "", 0, 0});
  ASSERT_TRUE(service_->open(*second, std::string(kResponse), nullptr,
                             {SocketKind::chat, Protocol::v1, "alice_bob", "bob", 0}));
  EXPECT_EQ(bob.read_head(), kRefusal) << "no confirmation in time";
  EXPECT_TRUE(bob.is_at_end());
  EXPECT_EQ(service_->stats().accepted, 1U);
  bob.vanish();
  run([&] {
    EXPECT_EQ(log.user_, "bob");
    late->answer_all();  // it left the queue of the backplane, too
  });
  alice.say(R"({"ping":3})");
  EXPECT_EQ(alice.hear(), R"({"pong":3})");
  service_.reset();  // before the log
}

TEST_F(RelayServiceTest, NotifiesEveryPushSocketOfAUser) {
  start();
  auto first = push("bob");
  auto second = push("bob", Protocol::v1);
  auto other = push("carol");
  EXPECT_EQ(notified("bob", R"({"a": 1})"), 2U);
  EXPECT_EQ(first.hear(), R"({"event":{"message":{"a": 1},"group":null}})");
  EXPECT_NE(second.hear().find(R"("message":{"a": 1},"group":null,"from":null,"id":null)"),
            std::string::npos);
  EXPECT_EQ(notified("nobody", "1"), 0U);
  EXPECT_EQ(service_->stats().notifications, 2U);
  const auto heard = listening_.all();
  ASSERT_EQ(heard.size(), 2U);
  EXPECT_EQ(heard[0], (Heard{Outcome::pushed, "", "", "bob", "", 2, 8}));
  EXPECT_EQ(heard[1], (Heard{Outcome::undelivered, "", "", "nobody", "", 0, 1}));
}

TEST_F(RelayServiceTest, ReportsPresence) {
  start();
  auto a = push("bob");
  auto b = chat("bob");
  auto c = chat("bob", Protocol::plain, "bob_carol");
  auto d = chat("carol", Protocol::plain, "bob_carol");
  const auto bob = presence("bob");
  EXPECT_EQ(bob.push_sockets, 1U);
  EXPECT_EQ(bob.groups, (std::vector<std::string>{"alice_bob", "bob_carol"}));
  EXPECT_TRUE(presence("alice").groups.empty());
}

TEST_F(RelayServiceTest, ListsTheUsersWhoAreHere) {
  start();
  auto a = push("bob");
  auto b = chat("carol", Protocol::plain, "bob_carol");
  auto page = service_->list_users("", 1, 20s);
  ASSERT_TRUE(page);
  ASSERT_EQ(page->users.size(), 1U);
  EXPECT_EQ(page->users[0].name.view(), "bob");
  EXPECT_TRUE(page->has_more);
  page = service_->list_users("bob", 1, 20s);
  ASSERT_TRUE(page);
  ASSERT_EQ(page->users.size(), 1U);
  EXPECT_EQ(page->users[0].name.view(), "carol");
  EXPECT_FALSE(page->has_more);

  service_->stop();
  const auto late = service_->list_users("", 1, 20s);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), CallProblem::stopped);
}

TEST_F(RelayServiceTest, EndsTheSessionsOfOneUserOnly) {
  start();
  auto a = push("bob");
  auto b = chat("bob");
  auto c = chat("alice");
  EXPECT_EQ(service_->end_sessions("bob", 20s)->sockets, 2U);
  EXPECT_EQ(a.hear(), "(closed 4403)");
  EXPECT_EQ(b.hear(), "(closed 4403)");
  EXPECT_TRUE(presence("bob").groups.empty());
  EXPECT_EQ(service_->end_sessions("bob", 20s)->sockets, 0U);
  c.say(R"({"message":1})");
  EXPECT_TRUE(eventually([&] { return service_->stats().messages_undelivered == 1; }));
}

TEST_F(RelayServiceTest, DroppedChatDeliveriesAreReportedWithSenderAndReceiver) {
  start(options(), 8192);
  auto alice = chat("alice", Protocol::v1);
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  auto bob = chat("bob", Protocol::plain, "alice_bob", 4096);
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  const auto value = '"' + std::string(9998, 'x') + '"';
  constexpr int kCount = 30;
  for (int i = 0; i < kCount; ++i) {
    alice.say("{\"message\":" + value + ",\"id\":\"m" + std::to_string(i) + "\"}");
    ASSERT_NE(alice.hear().find(R"("route":"chat","reached":1)"), std::string::npos);
  }
  ASSERT_TRUE(is_stuck(bob));
  // bob receives some of them; the rest is lost.
  int received = 0;
  for (; received < 3; ++received) bob.hear();
  bob.reset();
  EXPECT_NE(alice.hear().find(R"("present":false)"), std::string::npos);
  const auto dropped = listening_.dropped();
  ASSERT_FALSE(dropped.empty());
  ASSERT_LE(dropped.size(), static_cast<std::size_t>(kCount - received));
  auto number = kCount - static_cast<int>(dropped.size());
  for (const auto& one : dropped) {
    EXPECT_EQ(one, (Heard{Outcome::dropped, "alice_bob", "alice", "bob",
                          "m" + std::to_string(number), 0, 10'000}));
    ++number;
  }
  EXPECT_EQ(service_->stats().deliveries_dropped, dropped.size());
}

TEST_F(RelayServiceTest, DroppedPushDeliveriesAreReportedWithTheirGroup) {
  start(options(), 8192);
  auto alice = chat("alice", Protocol::v1);
  auto carol = chat("carol", Protocol::plain, "bob_carol");
  auto stuck = push("bob", Protocol::plain, 4096);
  // Fills what the kernel takes, so that nothing of the rest can have arrived.
  const auto filler = '"' + std::string(50'000, 'x') + '"';
  for (int i = 0; i < 4; ++i) EXPECT_EQ(notified("bob", filler), 1U);
  alice.say(R"({"message":1,"id":"a1"})");
  ASSERT_TRUE(eventually([&] { return service_->stats().messages_pushed == 1; }));
  carol.say(R"({"message":22})");
  ASSERT_TRUE(eventually([&] { return service_->stats().messages_pushed == 2; }));
  stuck.reset();
  ASSERT_TRUE(eventually([&] { return service_->reactor_stats().connections == 2; }));
  auto dropped = listening_.dropped();
  ASSERT_GE(dropped.size(), 3U);
  EXPECT_EQ(dropped.end()[-1], (Heard{Outcome::dropped, "bob_carol", "carol", "bob", "", 0, 2}));
  EXPECT_EQ(dropped.end()[-2], (Heard{Outcome::dropped, "alice_bob", "alice", "bob", "a1", 0, 1}));
  EXPECT_EQ(dropped.end()[-3], (Heard{Outcome::dropped, "", "", "bob", "", 0, 50'002}));
}

class DropReasonTest : public RelayServiceTest {
 protected:
  /// Sends bob, who reads nothing, more than kernels hold. Ends the socket by `end`, and expects
  /// that the losses are reported with `reason`.
  template <typename F>
  void expect_drops(EndReason reason, F&& end,
                    const RelayOptions& options = DropReasonTest::options(),
                    std::int64_t expires_at = 0) {
    start(options, 8192);
    auto bob = open({SocketKind::push, Protocol::plain, "", "bob", expires_at}, 4096);
    const auto filler = '"' + std::string(50'000, 'x') + '"';
    for (int i = 0; i < 4; ++i) EXPECT_EQ(notified("bob", filler), 1U);
    end(bob);
    const auto& stats = service_->stats();
    EXPECT_TRUE(eventually([&] { return service_->reactor_stats().connections == 0; }));
    const auto reasons = listening_.reasons();
    EXPECT_FALSE(reasons.empty());
    for (const auto one : reasons) EXPECT_EQ(end_reason_name(one), end_reason_name(reason));
    EXPECT_EQ(stats.deliveries_dropped, reasons.size());
    EXPECT_EQ(stats.dropped_by_reason[static_cast<std::size_t>(reason)], reasons.size());
  }

  bool is_gone() {
    return eventually([&] { return presence("bob").push_sockets == 0; });
  }
};

TEST_F(DropReasonTest, ThePeerReset) {
  expect_drops(EndReason::closed, [](WebSocketClient& bob) { bob.reset(); });
}

TEST_F(DropReasonTest, ThePeerClosedWhateverItsReason) {
  expect_drops(EndReason::closed, [&](WebSocketClient& bob) {
    bob.send(close_frame(1001));
    EXPECT_TRUE(is_gone());
    bob.reset();
  });
}

TEST_F(DropReasonTest, ThePeerWasTooSlow) {
  auto tight = options();
  tight.reactor.queues.max_queue_bytes = 250'000;
  expect_drops(
      EndReason::slow,
      [&](WebSocketClient& bob) {
        const auto filler = '"' + std::string(50'000, 'x') + '"';
        while (notified("bob", filler) != 0) {
        }
        bob.reset();
      },
      tight);
}

TEST_F(DropReasonTest, ThePeerWasTooSlowForThePoolOfAll) {
  auto tight = options();
  tight.reactor.queues.max_total_queue_bytes = 250'000;
  expect_drops(
      EndReason::slow,
      [&](WebSocketClient& bob) {
        auto carol = push("carol");
        EXPECT_EQ(notified("carol", '"' + std::string(100'000, 'x') + '"'), 1U);
        EXPECT_NE(carol.hear().find("event"), std::string::npos);
        EXPECT_TRUE(is_gone());
        bob.reset();
      },
      tight);
}

TEST_F(DropReasonTest, ThePeerWasDead) {
  auto impatient = options();
  impatient.reactor.ping_interval_seconds = 2;
  expect_drops(
      EndReason::dead, [&](WebSocketClient&) { EXPECT_TRUE(is_gone()); }, impatient);
}

TEST_F(DropReasonTest, AnAdministratorEndedIt) {
  expect_drops(EndReason::ended, [&](WebSocketClient& bob) {
    EXPECT_EQ(service_->end_sessions("bob", 20s)->sockets, 1U);
    bob.reset();
  });
}

TEST_F(DropReasonTest, ItsTokenExpired) {
  expect_drops(
      EndReason::expired,
      [&](WebSocketClient& bob) {
        EXPECT_TRUE(is_gone());
        bob.reset();
      },
      options(), wall_ms() + 5000);
}

TEST_F(DropReasonTest, ThePeerBrokeTheProtocol) {
  expect_drops(EndReason::violation, [&](WebSocketClient& bob) {
    bob.send(frame(Opcode::text, "1", {.masked = false}));
    EXPECT_TRUE(is_gone());
    bob.reset();
  });
}

TEST_F(DropReasonTest, TheRelayWasDrained) {
  expect_drops(EndReason::going_away, [&](WebSocketClient&) { service_->drain(1); });
}

TEST_F(DropReasonTest, TheRelayWasStopped) {
  expect_drops(EndReason::going_away, [&](WebSocketClient&) { service_->stop(); });
}

TEST_F(RelayServiceTest, ADropAtAnAnonymousSocketNamesTheReceiver) {
  start(options(), 8192);
  auto anonymous = chat("", Protocol::plain, "alice_bob", 4096);
  auto alice = chat("alice", Protocol::v1);
  const auto value = '"' + std::string(50'000, 'x') + '"';
  for (int i = 0; i < 4; ++i) alice.say("{\"message\":" + value + "}");
  ASSERT_TRUE(eventually([&] { return service_->stats().messages_chat == 4; }));
  auto other = chat("", Protocol::plain);
  other.say("{\"to_user\":\"alice\",\"message\":" + value + "}");
  ASSERT_TRUE(eventually([&] { return service_->stats().messages_chat == 5; }));
  anonymous.reset();
  ASSERT_TRUE(eventually([&] { return service_->reactor_stats().connections == 2; }));
  const auto dropped = listening_.dropped();
  ASSERT_GE(dropped.size(), 2U);
  EXPECT_EQ(dropped.end()[-1].from, "bob");
  EXPECT_EQ(dropped.end()[-1].to, "alice");
  EXPECT_EQ(dropped.end()[-2].from, "alice");
  EXPECT_EQ(dropped.end()[-2].to, "bob");
}

TEST_F(RelayServiceTest, ASenderLearnsThatASlowReceiverHasLeft) {
  auto tight = options();
  tight.reactor.queues.max_queue_bytes = 100'000;
  start(tight, 8192);
  auto alice = chat("alice", Protocol::v1);
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  auto bob = chat("bob", Protocol::plain, "alice_bob", 4096);
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  auto bob_push = push("bob");
  const auto value = '"' + std::string(50'000, 'x') + '"';
  int taken = 0;
  std::string verdict;
  do {
    alice.say("{\"message\":" + value + "}");
    verdict = alice.hear();
    ++taken;
  } while (verdict.find(R"("route":"chat")") != std::string::npos);
  // The message that did not fit the queue took the other route.
  EXPECT_NE(verdict.find(R"("route":"push","reached":1)"), std::string::npos);
  EXPECT_NE(bob_push.hear().find("event"), std::string::npos);
  EXPECT_EQ(alice.hear(), R"({"presence":{"user":"bob","present":false,"reachable":true}})");
  EXPECT_EQ(service_->reactor_stats().closed_slow, 1U);
  int received = 0;
  std::string heard;
  while ((heard = bob.hear()).starts_with("{\"message\"")) ++received;
  EXPECT_EQ(heard, "(closed 4408)");
  EXPECT_EQ(listening_.dropped().size(), static_cast<std::size_t>(taken - 1 - received));
}

TEST_F(RelayServiceTest, TheLedgerOfBytesInTheKernelIsBounded) {
  auto tight = options();
  tight.reactor.queues.max_queue_bytes = 4096;
  start(tight);
  auto alice = chat("alice", Protocol::v1);
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  auto bob = chat("bob", Protocol::plain, "alice_bob", 4096);
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  // Short enough that the kernel holds tens of thousands of them for bob, who reads nothing.
  constexpr int kMax = 20'000;
  int taken = 0;
  for (; taken < kMax; ++taken) {
    alice.say(R"({"message":1})");
    if (alice.hear().find(R"("route":"chat")") == std::string::npos) break;
  }
  EXPECT_LT(taken, kMax);
  EXPECT_EQ(service_->reactor_stats().closed_slow, 1U);
}

TEST_F(RelayServiceTest, TheLimitOfTheLedgerIsCheckedWithEachMessage) {
  constexpr std::size_t kMaxBytes = 1000;
  auto tight = options();
  tight.reactor.queues.max_queue_bytes = kMaxBytes;
  start(tight, 512 * 1024);
  auto alice = chat("alice", Protocol::v1);
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  auto bob = chat("bob", Protocol::v1, "alice_bob", 4096);
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  // Several times what bob's kernel takes, and signals are in no list: nothing behind them arrives.
  const auto signal = R"({"signal":")" + std::string(500, 'x') + "\"}";
  for (int i = 0; i < 100; ++i) alice.say(signal);
  // A list of so many with such ids is over its bound long before the kernel would be asked for its
  // length alone.
  const std::string id(64, 'i');
  const std::size_t most = kMaxBytes / id.size() + 1;
  std::size_t taken = 0;
  for (; taken <= most; ++taken) {
    alice.say(R"({"message":1,"id":")" + id + "\"}");
    if (alice.hear().find(R"("route":"chat")") == std::string::npos) break;
  }
  EXPECT_LE(taken, most);
  EXPECT_EQ(service_->reactor_stats().closed_slow, 1U);
}

TEST_F(RelayServiceTest, AValidTokenPostponesTheExpiry) {
  start();
  // A machine that does not come to the answer before the expiry gets more time, and starts anew.
  for (int lifetime_ms = 500;; lifetime_ms *= 2) {
    ASSERT_LT(lifetime_ms, 60'000);
    const auto expires_at = wall_ms() + lifetime_ms;
    auto alice = open({SocketKind::push, Protocol::v1, "", "alice", expires_at});
    alice.say(R"({"token":"good"})");
    const auto asked = refresher_.next_before(expires_at);
    if (!asked) continue;
    EXPECT_EQ(asked->user, "alice");
    EXPECT_EQ(asked->token, "good");
    asked->answer({wall_ms() + 3'600'000, {}});
    presence("alice");  // behind it
    if (wall_ms() >= expires_at) continue;
    auto other = open({SocketKind::push, Protocol::v1, "", "bob", expires_at});
    EXPECT_EQ(other.hear(), "(closed 4401)");
    EXPECT_EQ(notified("alice", "1"), 1U);
    EXPECT_NE(alice.hear().find("event"), std::string::npos);
    return;
  }
}

TEST_F(RelayServiceTest, ARefusedTokenIsAnErrorAndTheOldExpiryStays) {
  start();
  for (int lifetime_ms = 500;; lifetime_ms *= 2) {  // as above
    ASSERT_LT(lifetime_ms, 60'000);
    const auto expires_at = wall_ms() + lifetime_ms;
    auto bob = open({SocketKind::push, Protocol::v1, "", "bob", expires_at});
    bob.say(R"({"token":"bad","id":"t1"})");
    const auto asked = refresher_.next_before(expires_at);
    if (!asked) continue;
    asked->answer({0, "no good"});
    presence("bob");  // behind it
    if (wall_ms() >= expires_at) continue;
    EXPECT_EQ(bob.hear(), R"({"error":{"code":"bad_token","detail":"no good","id":"t1"}})");
    EXPECT_EQ(bob.hear(), "(closed 4401)");
    return;
  }
}

TEST_F(RelayServiceTest, ALateAnswerChangesNothing) {
  start();
  auto bob = push("bob", Protocol::v1);
  bob.say(R"({"token":"late"})");
  auto asked = refresher_.next();
  bob.reset();
  ASSERT_TRUE(eventually([&] { return service_->reactor_stats().connections == 0; }));
  asked.answer({0, "no good"});
  EXPECT_EQ(presence("bob").push_sockets, 0U);
  auto closing = push("bob", Protocol::v1);
  closing.say(R"({"token":"late"})");
  asked = refresher_.next();
  ASSERT_TRUE(service_->end_sessions("bob", 20s));
  asked.answer({wall_ms() + 1000, {}});
  EXPECT_EQ(closing.hear(), "(closed 4403)");
  service_->stop();
  asked.answer({0, "no good"});
}

TEST_F(RelayServiceTest, WithoutARefresherTokensAreRefused) {
  server_.emplace();
  service_.emplace(options(), nullptr, nullptr);
  auto bob = push("bob", Protocol::v1);
  bob.say(R"({"token":"any","id":"t1"})");
  const auto refused = bob.hear();
  EXPECT_NE(refused.find("bad_token"), std::string::npos);
  EXPECT_NE(refused.find(R"("id":"t1")"), std::string::npos);
}

TEST_F(RelayServiceTest, AnExpiryMayBeAnyNumber) {
  start();
  auto far = open(
      {SocketKind::push, Protocol::plain, "", "bob", std::numeric_limits<std::int64_t>::max()});
  auto past = open({SocketKind::push, Protocol::plain, "", "bob", 1});
  auto before = open(
      {SocketKind::push, Protocol::plain, "", "bob", std::numeric_limits<std::int64_t>::min()});
  EXPECT_EQ(past.hear(), "(closed 4401)");
  EXPECT_EQ(before.hear(), "(closed 4401)");
  EXPECT_EQ(notified("bob", "1"), 1U);
  EXPECT_EQ(far.hear(), R"({"event":{"message":1,"group":null}})");
}

TEST_F(RelayServiceTest, AUserWhoReconnectsHasNoFreshBurst) {
  auto limited = options();
  limited.rate = {1, 5};
  start(limited);
  constexpr int kVisits = 8;
  const auto began = std::chrono::steady_clock::now();
  int taken = 0;
  for (int visit = 0; visit < kVisits; ++visit) {
    auto alice = chat("alice", Protocol::v1);
    EXPECT_NE(alice.hear().find("presence"), std::string::npos);
    taken += say_many(alice);
    alice.reset();
    ASSERT_TRUE(eventually([&] { return service_->reactor_stats().connections == 0; }));
  }
  const auto seconds =
      std::chrono::ceil<std::chrono::seconds>(std::chrono::steady_clock::now() - began);
  EXPECT_GE(taken, 5);
  EXPECT_LE(taken, 5 + seconds.count()) << "the burst, and one more each second";
}

TEST_F(RelayServiceTest, NewRateLimitsApply) {
  start();
  auto alice = chat("alice", Protocol::v1);
  EXPECT_NE(alice.hear().find("presence"), std::string::npos);
  auto limited = options();
  limited.rate = {1, 1};
  service_->apply(limited);
  presence("alice");  // behind it
  const int taken = say_many(alice);
  EXPECT_GE(taken, 1);
  EXPECT_LT(taken, kManyMessages);
}

TEST_F(RelayServiceTest, CallsAfterAStopEnd) {
  start();
  service_->stop();
  EXPECT_EQ(service_->notify("bob", "1", 20s).error(), CallProblem::stopped);
  EXPECT_EQ(service_->presence("bob", 20s).error(), CallProblem::stopped);
  EXPECT_EQ(service_->end_sessions("bob", 20s).error(), CallProblem::stopped);
}

TEST_F(RelayServiceTest, AsynchronousCallsAreAnsweredOnTheReactorsThreadInOrder) {
  start();
  auto push_socket = push("bob");
  auto chat_socket = chat("bob");
  std::promise<void> done;
  // The reactor's thread alone, until it is done.
  std::vector<std::string> answers;
  std::vector<std::thread::id> threads;
  const auto note = [&](std::string answer) {
    answers.push_back(std::move(answer));
    threads.push_back(std::this_thread::get_id());
  };
  EXPECT_TRUE(service_->presence_async("bob", [&](CallResult<UserPresence> result) {
    note("present " + std::to_string(result->push_sockets));
  }));
  EXPECT_TRUE(service_->notify_async("bob", "1", [&](CallResult<SocketCount> result) {
    note("notified " + std::to_string(result->sockets));
    // From there, too: it is not answered before this returns.
    EXPECT_TRUE(service_->end_sessions_async("bob", [&](CallResult<SocketCount> ended) {
      note("ended " + std::to_string(ended->sockets));
      done.set_value();
    }));
    note("asked");
  }));
  ASSERT_EQ(done.get_future().wait_for(20s), std::future_status::ready);
  EXPECT_EQ(answers, (std::vector<std::string>{"present 1", "notified 1", "asked", "ended 2"}));
  for (const auto thread : threads) {
    EXPECT_EQ(thread, threads.front());
    EXPECT_NE(thread, std::this_thread::get_id());
  }
}

TEST_F(RelayServiceTest, AnAsynchronousCallIsAnsweredBeforeAStopOrRefused) {
  start();
  std::promise<void> release;
  std::atomic<int> answered = 0;
  const auto count = [&](const CallResult<SocketCount>&) { ++answered; };
  EXPECT_TRUE(service_->notify_async("bob", "1", [&](const CallResult<SocketCount>& result) {
    release.get_future().wait();
    count(result);
  }));
  // Behind one that the reactor is busy with.
  EXPECT_TRUE(service_->notify_async("bob", "2", count));
  std::thread stopping([&] { service_->stop(); });
  EXPECT_TRUE(eventually([&] { return !service_->presence_async("bob", [](const auto&) {}); }));
  release.set_value();
  stopping.join();
  EXPECT_EQ(answered, 2);
  EXPECT_FALSE(service_->notify_async("bob", "3", count));
  EXPECT_FALSE(service_->end_sessions_async("bob", count));
  EXPECT_EQ(answered, 2);
}

TEST_F(RelayServiceTest, ACallThatTheReactorIsTooBusyForTimesOut) {
  server_.emplace();
  /// Holds the reactor up.
  class Holding final : public Observer {
   public:
    void on_delivery(const Delivery& delivery) noexcept override {
      if (delivery.to == "hold") released.get_future().wait();
    }
    void on_error_sent(ErrorCode) noexcept override {}
    std::promise<void> released;
  } holding;
  service_.emplace(options(), &holding, nullptr);
  EXPECT_EQ(service_->notify("hold", "1", 20ms).error(), CallProblem::timeout);
  EXPECT_EQ(service_->presence("bob", 1ms).error(), CallProblem::timeout);
  holding.released.set_value();
  EXPECT_EQ(notified("bob", "1"), 0U);
  service_.reset();
}

TEST_F(RelayServiceTest, DeliveriesQueuedAtTheEndAreCounted) {
  start(options(), 8192);
  auto stuck = push("bob", Protocol::plain, 4096);
  const auto filler = '"' + std::string(50'000, 'x') + '"';
  for (int i = 0; i < 10; ++i) EXPECT_EQ(notified("bob", filler), 1U);
  service_->stop();
  int received = 0;
  while (stuck.hear().starts_with("{\"event\"")) ++received;
  EXPECT_GE(static_cast<int>(listening_.dropped().size()) + received, 10);
  EXPECT_EQ(service_->stats().push_sockets, 0U);
}

}  // namespace
}  // namespace waystation::test
