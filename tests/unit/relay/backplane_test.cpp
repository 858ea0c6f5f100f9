// LocalBackplane answers inside the call. LateBackplane, a backplane of these tests, answers later:
// it shows that the interface permits it.
#include "relay/backplane.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "unit/relay/fake_members.hpp"
#include "unit/relay/late_backplane.hpp"
#include "unit/websocket/allocations.hpp"

namespace waystation::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto kPlain = Protocol::plain;
constexpr auto kV1 = Protocol::v1;

// ---- LocalBackplane

/// A member that accepts everything and keeps nothing.
template <typename Base>
class NullMember final : public Base {
 public:
  explicit NullMember(Protocol protocol) : Base(protocol) {}
  void on_joined() noexcept override {}
  bool send(const OutgoingText&, const Message*) override {
    ++sent;
    return true;
  }
  void refresh(std::string, const ShortText&) override {}
  void end_session() override {}
  void go_away() override {}
  void throttle(std::int64_t) override {}

  int sent = 0;
};

class NullObserver final : public Observer {
 public:
  void on_delivery(const Delivery&) noexcept override {}
  void on_error_sent(ErrorCode) noexcept override {}
};

TEST(LocalBackplane, AMessageAllocatesNothing) {
  NullObserver observer;
  Directory directory(RateLimit{});
  Fanout fanout(directory, observer);
  FakeScheduler scheduler;
  Reachability reachability(directory, fanout, scheduler);
  LocalBackplane backplane(directory, fanout, reachability);
  Router router(directory, fanout, backplane);
  for (const auto protocol : {kPlain, kV1}) {
    NullMember<ChatMember> alice(protocol);
    NullMember<ChatMember> bob(kV1);
    NullMember<PushMember> push(kV1);
    router.join(alice, "alice_bob", "alice");
    router.join(push, "bob");
    alice.sent = 0;

    forget_allocations();
    router.receive(alice, R"({"message":1,"to_user":"bob"})", {1000, 1000});
    EXPECT_EQ(largest_allocation(), 0U) << "on route push";
    EXPECT_EQ(push.sent, 1);

    router.join(bob, "alice_bob", "bob");
    alice.sent = bob.sent = 0;
    forget_allocations();
    router.receive(alice, R"({"message":1,"to_user":"bob"})", {1000, 1000});
    EXPECT_EQ(largest_allocation(), 0U) << "on route chat";
    EXPECT_EQ(alice.sent, 1) << "the echo or the ack";
    EXPECT_EQ(bob.sent, 1);

    router.leave(alice);
    router.leave(bob);
    router.leave(push);
  }
}

// ---- a backplane that answers later

class LateBackplaneTest : public testing::Test {
 protected:
  FakeChat chat(Protocol protocol, std::string_view user) {
    return {router, protocol, "alice_bob", user};
  }
  std::vector<Route> routes() const {
    std::vector<Route> routes;
    for (const auto& entry : recorder.entries) {
      routes.push_back(entry.outcome == Outcome::chat     ? Route::chat
                       : entry.outcome == Outcome::pushed ? Route::push
                                                          : Route::none);
    }
    return routes;
  }

  Recorder recorder;
  Directory directory{RateLimit{}};
  Fanout fanout{directory, recorder};
  LateBackplane backplane{directory, fanout};
  Router router{directory, fanout, backplane};
};

TEST_F(LateBackplaneTest, ASocketReceivesNothingBeforeItsJoinIsConfirmed) {
  auto alice = chat(kV1, "alice");
  backplane.answer_all();
  alice.all();
  auto bob = chat(kV1, "bob");
  EXPECT_EQ(bob.joins, 0);
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(directory.presence("bob").groups, IsEmpty());
  EXPECT_EQ(directory.end_sessions("bob"), 0U);

  backplane.answer_all();
  EXPECT_EQ(bob.joins, 1);
  EXPECT_THAT(bob.all(),
              ElementsAre(R"({"presence":{"user":"alice","present":true,"reachable":true}})"));
  EXPECT_THAT(alice.all(),
              ElementsAre(R"({"presence":{"user":"bob","present":true,"reachable":true}})"));
}

TEST_F(LateBackplaneTest, ASocketCanLeaveBeforeItsJoinIsConfirmed) {
  auto alice = chat(kV1, "alice");
  backplane.answer_all();
  alice.all();
  {
    auto bob = chat(kV1, "bob");
    EXPECT_FALSE(bob.is_joined());
  }
  backplane.answer_all();
  EXPECT_THAT(alice.all(), IsEmpty());
  { FakeChat carol(router, kPlain, "carol_dave", "carol"); }
  backplane.answer_all();
  EXPECT_EQ(directory.group_count(), 1U);
}

TEST_F(LateBackplaneTest, ALeaveIsAnnouncedWhenItIsConfirmed) {
  auto alice = chat(kV1, "alice");
  {
    auto bob = chat(kPlain, "bob");
    backplane.answer_all();
    alice.all();
  }
  EXPECT_THAT(alice.all(), IsEmpty());
  backplane.answer_all();
  EXPECT_THAT(alice.all(),
              ElementsAre(R"({"presence":{"user":"bob","present":false,"reachable":false}})"));
}

TEST_F(LateBackplaneTest, AcksAndReportsFollowTheDecision) {
  auto alice = chat(kV1, "alice");
  backplane.answer_all();
  alice.all();
  {
    // The frame's memory is used again before the answer.
    std::string frame = R"({"message":[1, 2],"id":"m"})";
    alice.say(frame, {7, 7});
    frame.assign(frame.size(), '#');
  }
  auto bob = chat(kV1, "bob");
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(recorder.entries, IsEmpty());

  // Bob joined after the message, which is decided first.
  backplane.answer("alice_bob");
  EXPECT_THAT(alice.all(), ElementsAre(R"({"ack":{"id":"m","route":"none","reached":0,"at":7}})"));
  EXPECT_THAT(recorder.entries, ElementsAre(Recorder::Entry{Outcome::undelivered, 7, "alice_bob",
                                                            "alice", "bob", "m", 0, 6}));
  backplane.answer_all();
  EXPECT_THAT(bob.all(), ElementsAre(HasSubstr("presence")));
}

TEST_F(LateBackplaneTest, BothEndsOfAGroupSeeOneOrder) {
  auto alice = chat(kPlain, "alice");
  auto bob = chat(kPlain, "bob");
  FakeChat carol(router, kPlain, "carol_dave", "carol");
  FakeChat dave(router, kPlain, "carol_dave", "dave");
  backplane.answer_all();
  std::vector<std::string> sent;
  for (int i = 0; i < 10; ++i) {
    sent.push_back("{\"message\":" + std::to_string(i) + "}");
    (i % 3 == 0 ? bob : alice).say(sent.back());
  }
  carol.say(R"({"message":"c"})");

  // Another group does not wait.
  backplane.answer("carol_dave");
  EXPECT_THAT(dave.all(), ElementsAre(R"({"message":"c"})"));
  EXPECT_THAT(bob.all(), IsEmpty());

  backplane.answer_all();
  EXPECT_EQ(alice.all(), sent);
  EXPECT_EQ(bob.all(), sent);
}

TEST_F(LateBackplaneTest, SignalsKeepTheirPlaceBetweenMessages) {
  auto alice = chat(kV1, "alice");
  auto bob = chat(kV1, "bob");
  backplane.answer_all();
  bob.all();
  alice.say(R"({"message":1})", {7, 7});
  alice.say(R"({"signal":2})");
  alice.say(R"({"message":3})", {7, 7});
  backplane.answer_all();
  EXPECT_THAT(bob.all(), ElementsAre(R"({"message":1,"from":"alice","id":null,"at":7})",
                                     R"({"signal":2,"from":"alice"})",
                                     R"({"message":3,"from":"alice","id":null,"at":7})"));
}

TEST_F(LateBackplaneTest, TheSenderCanLeaveBeforeTheDecision) {
  auto tab = chat(kV1, "alice");
  auto plain_tab = chat(kPlain, "alice");
  auto bob = chat(kV1, "bob");
  backplane.answer_all();
  for (auto* socket : {&tab, &plain_tab, &bob}) socket->all();
  {
    auto alice = chat(kV1, "alice");
    backplane.answer_all();
    alice.say(R"({"message":1})", {7, 7});
    alice.say(R"({"signal":2})", {7, 7});
  }
  backplane.answer_all();
  const std::string message = R"({"message":1,"from":"alice","id":null,"at":7})";
  const std::string signal = R"({"signal":2,"from":"alice"})";
  EXPECT_THAT(bob.all(), ElementsAre(message, signal));
  EXPECT_THAT(tab.all(), ElementsAre(message, signal));
  EXPECT_THAT(plain_tab.all(), ElementsAre(R"({"message":1})"));
  EXPECT_THAT(routes(), ElementsAre(Route::chat));
}

TEST_F(LateBackplaneTest, TheEchoFollowsTheProtocolOfASenderWhoHasLeft) {
  auto tab = chat(kV1, "alice");
  auto plain_tab = chat(kPlain, "alice");
  backplane.answer_all();
  tab.all();
  {
    auto alice = chat(kPlain, "alice");
    backplane.answer_all();
    alice.say(R"({"message":1})", {7, 7});
  }
  backplane.answer_all();
  // On this route, a plain sender is not shown to plain sockets.
  EXPECT_THAT(routes(), ElementsAre(Route::none));
  EXPECT_THAT(tab.all(), ElementsAre(R"({"message":1,"from":"alice","id":null,"at":7})"));
  EXPECT_THAT(plain_tab.all(), IsEmpty());
}

TEST_F(LateBackplaneTest, AMessageIsReportedEvenIfTheWholeGroupHasLeft) {
  FakePush push(router, kPlain, "bob");
  {
    auto alice = chat(kV1, "alice");
    backplane.answer_all();
    alice.say(R"({"message":1})", {7, 7});
    alice.say(R"({"signal":2})", {7, 7});
  }
  EXPECT_EQ(directory.group_count(), 0U);
  backplane.answer_all();
  EXPECT_THAT(push.all(), ElementsAre(R"({"event":{"message":1,"group":"alice_bob"}})"));
  EXPECT_THAT(routes(), ElementsAre(Route::push));
}

TEST_F(LateBackplaneTest, ErrorsAndPongsDoNotWait) {
  auto alice = chat(kV1, "alice");
  backplane.answer_all();
  alice.all();
  alice.say(R"({"message":1})", {7, 7});
  alice.say(R"({"ping":2})");
  alice.say("{");
  EXPECT_THAT(alice.all(), ElementsAre(R"({"pong":2})", HasSubstr("bad_json")));
  backplane.answer_all();
  EXPECT_THAT(alice.all(), ElementsAre(HasSubstr(R"("route":"none")")));
}

TEST_F(LateBackplaneTest, CallsOfTheHostApplicationAreAnsweredLater) {
  FakePush push(router, kPlain, "bob");
  std::optional<std::size_t> reached;
  std::optional<UserPresence> presence;
  std::optional<std::size_t> ended;
  router.notify("bob", "1", {7, 7}, [&](SocketCount answer) { reached = answer.sockets; });
  backplane.presence("bob", [&](UserPresence answer) { presence = std::move(answer); });
  backplane.end_sessions("bob", [&](SocketCount answer) { ended = answer.sockets; });
  EXPECT_FALSE(reached || presence || ended);
  backplane.answer_all();
  EXPECT_EQ(reached, 1U);
  EXPECT_EQ(presence.value().push_sockets, 1U);
  EXPECT_EQ(ended, 1U);
  EXPECT_THAT(push.all(), ElementsAre(R"({"event":{"message":1,"group":null}})"));
  EXPECT_THAT(routes(), ElementsAre(Route::push));
}

}  // namespace
}  // namespace waystation::test
