#include "relay/router.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "unit/relay/fake_members.hpp"
#include "unit/relay/json_texts.hpp"

namespace waystation::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr auto kPlain = Protocol::plain;
constexpr auto kV1 = Protocol::v1;

/// The cases hold for each backplane: the parameter is LocalRelay's `is_late`.
class RouterTest : public testing::TestWithParam<bool> {
 protected:
  FakeChat plain(std::string_view user) { return {router, kPlain, "alice_bob", user}; }
  FakeChat v1(std::string_view user) { return {router, kV1, "alice_bob", user}; }

  LocalRelay relay{{}, GetParam()};
  Router& router = relay.router;
};

INSTANTIATE_TEST_SUITE_P(Backplanes, RouterTest, testing::Bool(),
                         [](const auto& one) { return std::string(one.param ? "Late" : "Local"); });

/// The frame about a user without a push socket.
std::string presence(const char* user, bool present) {
  const std::string value = present ? "true" : "false";
  return std::string("{\"presence\":{\"user\":\"") + user + "\",\"present\":" + value +
         ",\"reachable\":" + value + "}}";
}

// ---- plain: the original protocol ------------------------------------------------------------

TEST_P(RouterTest, SendsAPlainMessageToBothSidesIfTheReceiverIsPresent) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say(R"({"message":"hi","to_user":"bob"})");
  EXPECT_THAT(alice.all(), ElementsAre(R"({"message":"hi"})"));
  EXPECT_THAT(bob.all(), ElementsAre(R"({"message":"hi"})"));
}

TEST_P(RouterTest, PushesIfTheReceiverIsNotPresent) {
  auto alice = plain("alice");
  FakePush bob(router, kPlain, "bob");
  alice.say(R"({"message":"hi","to_user":"bob"})");
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(bob.all(), ElementsAre(R"({"event":{"message":"hi","group":"alice_bob"}})"));
}

TEST_P(RouterTest, PushesToEveryPushSocketOfTheReceiver) {
  auto alice = plain("alice");
  FakePush bob1(router, kPlain, "bob");
  FakePush bob2(router, kPlain, "bob");
  FakePush carol(router, kPlain, "carol");
  FakePush alice_push(router, kPlain, "alice");
  alice.say(R"({"message":1,"to_user":"bob"})");
  EXPECT_EQ(bob1.all().size(), 1U);
  EXPECT_EQ(bob2.all().size(), 1U);
  EXPECT_THAT(carol.all(), IsEmpty());
  EXPECT_THAT(alice_push.all(), IsEmpty());
}

TEST_P(RouterTest, DoesNotPushIfTheReceiverIsPresent) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  FakePush bob_push(router, kPlain, "bob");
  alice.say(R"({"message":1})");
  EXPECT_THAT(bob_push.all(), IsEmpty());
  EXPECT_EQ(bob.all().size(), 1U);
}

TEST_P(RouterTest, SendsNothingToAPlainSenderIfTheReceiverIsAbsent) {
  auto alice = plain("alice");
  alice.say(R"({"message":1,"to_user":"bob"})");
  EXPECT_THAT(alice.all(), IsEmpty());
}

TEST_P(RouterTest, SendsAPlainMessageToAllTabsOfBothSides) {
  auto alice1 = plain("alice");
  auto alice2 = plain("alice");
  auto bob1 = plain("bob");
  auto bob2 = plain("bob");
  alice1.say(R"({"message":1,"to_user":"bob"})");
  for (auto* socket : {&alice1, &alice2, &bob1, &bob2}) {
    EXPECT_THAT(socket->all(), ElementsAre(R"({"message":1})"));
  }
}

TEST_P(RouterTest, ASecondTabOfTheSenderIsNotTheReceiver) {
  auto alice1 = plain("alice");
  auto alice2 = plain("alice");
  FakePush bob(router, kPlain, "bob");
  alice1.say(R"({"message":1,"to_user":"bob"})");
  EXPECT_EQ(bob.all().size(), 1U);
  EXPECT_THAT(alice1.all(), IsEmpty());
  EXPECT_THAT(alice2.all(), IsEmpty());
}

TEST_P(RouterTest, SendsNullForAMissingMessageInPlain) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say(R"({"to_user":"bob"})");
  EXPECT_EQ(bob.next(), R"({"message":null})");
}

TEST_P(RouterTest, SendsToTheOtherUserIfToUserIsMissing) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say(R"({"message":1})");
  alice.say(R"({"message":2,"to_user":null})");
  EXPECT_THAT(bob.all(), ElementsAre(R"({"message":1})", R"({"message":2})"));
}

TEST_P(RouterTest, DoesNotSendToOtherGroups) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  FakeChat alice_carol(router, kPlain, "alice_carol", "alice");
  FakeChat carol(router, kPlain, "alice_carol", "carol");
  alice.say(R"({"message":1})");
  EXPECT_EQ(bob.all().size(), 1U);
  EXPECT_THAT(carol.all(), IsEmpty());
  EXPECT_THAT(alice_carol.all(), IsEmpty());
}

TEST_P(RouterTest, AChatSocketInAnotherGroupIsNotPresence) {
  auto alice = plain("alice");
  FakeChat bob_elsewhere(router, kPlain, "bob_carol", "bob");
  FakePush bob(router, kPlain, "bob");
  alice.say(R"({"message":1})");
  EXPECT_THAT(bob_elsewhere.all(), IsEmpty());
  EXPECT_EQ(bob.all().size(), 1U);
}

TEST_P(RouterTest, IgnoresFramesOfAPlainPushSocket) {
  FakePush bob(router, kPlain, "bob");
  for (const auto* text :
       {"hello", "{", R"({"message":1,"to_user":"alice"})", R"({"token":"a"})"}) {
    bob.say(text);
  }
  EXPECT_THAT(bob.all(), IsEmpty());
  EXPECT_THAT(bob.tokens, IsEmpty());
  EXPECT_EQ(relay.recorder.errors, 0);
}

TEST_P(RouterTest, SendsNoPresenceSignalsOrAcksToAPlainSocket) {
  auto alice = plain("alice");
  {
    auto bob = v1("bob");
    bob.say(R"({"signal":1})");
  }
  EXPECT_THAT(alice.all(), IsEmpty());
}

// ---- v1 --------------------------------------------------------------------------------------

TEST_P(RouterTest, SendsPresenceToAV1MemberOnJoin) {
  auto alice = v1("alice");
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", false)));
  auto bob = v1("bob");
  EXPECT_THAT(bob.all(), ElementsAre(presence("alice", true)));
}

TEST_P(RouterTest, AnnouncesTheFirstTabThatJoinsAndTheLastThatLeaves) {
  auto alice = v1("alice");
  alice.all();
  std::optional<FakeChat> bob1(std::in_place, router, kV1, "alice_bob", "bob");
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", true)));
  std::optional<FakeChat> bob2(std::in_place, router, kPlain, "alice_bob", "bob");
  bob1.reset();
  EXPECT_THAT(alice.all(), IsEmpty());
  bob2.reset();
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", false)));
  std::optional<FakeChat> bob3(std::in_place, router, kPlain, "alice_bob", "bob");
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", true)));
}

TEST_P(RouterTest, AnnouncesPresenceToEveryV1TabOfTheOtherSideOnly) {
  auto alice1 = v1("alice");
  auto alice2 = v1("alice");
  auto alice_plain = plain("alice");
  FakeChat elsewhere(router, kV1, "alice_carol", "alice");
  for (auto* socket : {&alice1, &alice2, &alice_plain, &elsewhere}) socket->all();
  auto bob1 = v1("bob");
  auto bob2 = v1("bob");
  EXPECT_THAT(alice1.all(), ElementsAre(presence("bob", true)));
  EXPECT_THAT(alice2.all(), ElementsAre(presence("bob", true)));
  EXPECT_THAT(alice_plain.all(), IsEmpty());
  EXPECT_THAT(elsewhere.all(), IsEmpty());
  EXPECT_THAT(bob1.all(), ElementsAre(presence("alice", true)));
}

TEST_P(RouterTest, SendsTheMessageToTheReceiverAndTheAckToTheSender) {
  auto alice = v1("alice");
  auto bob = v1("bob");
  alice.all();
  bob.all();
  alice.say(R"({"message":{"a":1},"id":"m-1"})", {1700000000123, 5});
  EXPECT_THAT(bob.all(),
              ElementsAre(R"({"message":{"a":1},"from":"alice","id":"m-1","at":1700000000123})"));
  EXPECT_THAT(alice.all(),
              ElementsAre(R"({"ack":{"id":"m-1","route":"chat","reached":1,"at":1700000000123}})"));
}

TEST_P(RouterTest, ReachedCountsTheReceiversSocketsOnly) {
  auto alice = v1("alice");
  auto alice2 = v1("alice");
  auto bob1 = v1("bob");
  auto bob2 = plain("bob");
  auto bob3 = v1("bob");
  alice.all();
  alice.say(R"({"message":1})", {7, 7});
  EXPECT_EQ(alice.next(), R"({"ack":{"id":null,"route":"chat","reached":3,"at":7}})");
}

TEST_P(RouterTest, AcknowledgesAPush) {
  auto alice = v1("alice");
  FakePush bob1(router, kV1, "bob");
  FakePush bob2(router, kPlain, "bob");
  alice.all();
  alice.say(R"({"message":"x","id":"m"})", {7, 7});
  EXPECT_THAT(alice.all(), ElementsAre(R"({"ack":{"id":"m","route":"push","reached":2,"at":7}})"));
  EXPECT_THAT(
      bob1.all(),
      ElementsAre(
          R"({"event":{"message":"x","group":"alice_bob","from":"alice","id":"m","at":7}})"));
  EXPECT_THAT(bob2.all(), ElementsAre(R"({"event":{"message":"x","group":"alice_bob"}})"));
}

TEST_P(RouterTest, AcknowledgesRouteNone) {
  auto alice = v1("alice");
  alice.all();
  alice.say(R"({"message":"x","id":"m"})", {7, 7});
  EXPECT_THAT(alice.all(), ElementsAre(R"({"ack":{"id":"m","route":"none","reached":0,"at":7}})"));
}

TEST_P(RouterTest, EchoesToTheSendersOtherTabsOnEveryRoute) {
  auto alice = v1("alice");
  auto tab = v1("alice");
  auto plain_tab = plain("alice");
  tab.all();
  const std::string message = R"({"message":1,"from":"alice","id":null,"at":7})";

  alice.say(R"({"message":1})", {7, 7});
  EXPECT_THAT(tab.all(), ElementsAre(message)) << "on route none";
  EXPECT_THAT(plain_tab.all(), ElementsAre(R"({"message":1})")) << "on route none";
  {
    FakePush bob(router, kV1, "bob");
    alice.say(R"({"message":1})", {7, 7});
    EXPECT_THAT(tab.all(), ElementsAre(message)) << "on route push";
    EXPECT_THAT(plain_tab.all(), ElementsAre(R"({"message":1})")) << "on route push";
  }
  auto bob = plain("bob");
  tab.all();
  alice.say(R"({"message":1})", {7, 7});
  EXPECT_THAT(tab.all(), ElementsAre(message)) << "on route chat";
  EXPECT_THAT(plain_tab.all(), ElementsAre(R"({"message":1})")) << "on route chat";
}

TEST_P(RouterTest, EchoesAPlainTabsMessageToV1TabsOfTheSameUser) {
  auto alice = plain("alice");
  auto tab = v1("alice");
  tab.all();
  alice.say(R"({"message":1})", {7, 7});
  EXPECT_THAT(tab.all(), ElementsAre(R"({"message":1,"from":"alice","id":null,"at":7})"));
  EXPECT_THAT(alice.all(), IsEmpty());
}

TEST_P(RouterTest, DoesNotEchoToAV1Sender) {
  auto alice = v1("alice");
  auto bob = v1("bob");
  alice.all();
  alice.say(R"({"message":1})");
  EXPECT_THAT(alice.all(), ElementsAre(StartsWith(R"({"ack":)")));
}

TEST_P(RouterTest, WritesEachFrameInTheProtocolOfItsSocket) {
  auto alice = plain("alice");
  auto bob = v1("bob");
  bob.all();
  alice.say(R"({"message":"p","to_user":"bob","id":"ignored"})", {7, 7});
  EXPECT_THAT(bob.all(), ElementsAre(R"({"message":"p","from":"alice","id":null,"at":7})"));
  EXPECT_THAT(alice.all(), ElementsAre(R"({"message":"p"})"));
  bob.say(R"({"message":"v","id":"b1"})", {8, 8});
  EXPECT_THAT(alice.all(), ElementsAre(R"({"message":"v"})"));
  EXPECT_THAT(bob.all(), ElementsAre(R"({"ack":{"id":"b1","route":"chat","reached":1,"at":8}})"));
}

TEST_P(RouterTest, SendsSignalsToTheOtherV1SocketsOfTheGroup) {
  auto alice = v1("alice");
  auto tab = v1("alice");
  auto bob = v1("bob");
  auto bob_plain = plain("bob");
  FakePush bob_push(router, kV1, "bob");
  FakeChat elsewhere(router, kV1, "bob_carol", "bob");
  for (auto* socket : {&alice, &tab, &bob, &elsewhere}) socket->all();
  alice.say(R"({"signal":{"typing" :true}})");
  EXPECT_THAT(bob.all(), ElementsAre(R"({"signal":{"typing" :true},"from":"alice"})"));
  EXPECT_THAT(tab.all(), ElementsAre(R"({"signal":{"typing" :true},"from":"alice"})"));
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(bob_plain.all(), IsEmpty());
  EXPECT_THAT(bob_push.all(), IsEmpty());
  EXPECT_THAT(elsewhere.all(), IsEmpty());
}

TEST_P(RouterTest, DoesNotPushOrReportSignals) {
  auto alice = v1("alice");
  alice.all();
  FakePush bob(router, kV1, "bob");
  alice.say(R"({"signal":1})");
  EXPECT_THAT(bob.all(), IsEmpty());
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(relay.recorder.entries, IsEmpty());
}

TEST_P(RouterTest, AnswersPingsToTheirSenderOnlyAndCountsNoError) {
  auto alice = v1("alice");
  auto bob = v1("bob");
  FakePush push(router, kV1, "alice");
  FakePush plain(router, kPlain, "alice");
  alice.all();
  bob.all();
  alice.say(R"({"ping": [1 ,2],"id":"ping-1"})");
  EXPECT_THAT(alice.all(), ElementsAre(R"({"pong":[1 ,2]})"));
  push.say(R"({"ping":"x"})");
  EXPECT_THAT(push.all(), ElementsAre(R"({"pong":"x"})"));
  plain.say(R"({"ping":1})");
  EXPECT_THAT(plain.all(), IsEmpty());
  EXPECT_THAT(bob.all(), IsEmpty());
  EXPECT_THAT(relay.recorder.entries, IsEmpty());
  EXPECT_EQ(relay.recorder.errors, 0);
}

TEST_P(RouterTest, PassesTokensToTheMember) {
  auto alice = v1("alice");
  FakePush bob(router, kV1, "bob");
  alice.all();
  alice.say(R"({"token":"abc","id":"t1"})");
  bob.say(R"({"token":"def","id":"t2"})");
  bob.say(R"({"token":"ghi"})");
  EXPECT_THAT(alice.tokens, ElementsAre("abc"));
  EXPECT_THAT(bob.tokens, ElementsAre("def", "ghi"));
  EXPECT_EQ(alice.token_ids.at(0).view(), "t1");
  EXPECT_EQ(bob.token_ids.at(0).view(), "t2");
  EXPECT_TRUE(bob.token_ids.at(1).empty());
  EXPECT_THAT(alice.all(), IsEmpty());
}

TEST_P(RouterTest, RefusesMessagesOnAV1PushSocket) {
  FakePush bob(router, kV1, "bob");
  bob.say(R"({"message":1})");
  EXPECT_THAT(bob.next(), HasSubstr("bad_envelope"));
  bob.say("{");
  EXPECT_THAT(bob.next(), HasSubstr("bad_json"));
}

// ---- anonymous sockets -----------------------------------------------------------------------

TEST_P(RouterTest, AnAnonymousSocketReceivesWhatIsForTheOtherUser) {
  auto someone = plain("");
  auto alice = plain("alice");
  alice.say(R"({"message":1,"to_user":"bob"})");
  EXPECT_THAT(someone.all(), ElementsAre(R"({"message":1})"));
  EXPECT_THAT(alice.all(), ElementsAre(R"({"message":1})"));
}

TEST_P(RouterTest, TwoAnonymousSocketsMakeBothUsersPresent) {
  auto one = plain("");
  auto two = plain("");
  FakePush alice(router, kPlain, "alice");
  FakePush bob(router, kPlain, "bob");
  one.say(R"({"message":1,"to_user":"bob"})");
  two.say(R"({"message":2,"to_user":"alice"})");
  EXPECT_THAT(one.all(), ElementsAre(R"({"message":1})", R"({"message":2})"));
  EXPECT_THAT(two.all(), ElementsAre(R"({"message":1})", R"({"message":2})"));
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(bob.all(), IsEmpty());
}

TEST_P(RouterTest, AnAnonymousSocketIsNotItsOwnReceiver) {
  auto one = plain("");
  FakePush bob(router, kV1, "bob");
  one.say(R"({"message":1,"to_user":"bob"})", {7, 7});
  EXPECT_THAT(one.all(), IsEmpty());
  EXPECT_THAT(
      bob.all(),
      ElementsAre(
          R"({"event":{"message":1,"group":"alice_bob","from":"alice","id":null,"at":7}})"));
}

TEST_P(RouterTest, AnAnonymousSenderCountsAsTheOtherUser) {
  auto one = plain("");
  auto alice = v1("alice");
  auto bob = v1("bob");
  alice.all();
  bob.all();
  one.say(R"({"message":1,"to_user":"alice"})", {7, 7});
  EXPECT_THAT(alice.all(), ElementsAre(R"({"message":1,"from":"bob","id":null,"at":7})"));
  EXPECT_THAT(bob.all(), ElementsAre(R"({"message":1,"from":"bob","id":null,"at":7})"));
  EXPECT_THAT(one.all(), ElementsAre(R"({"message":1})"));
}

TEST_P(RouterTest, AnAnonymousSocketHasToSetToUser) {
  auto one = plain("");
  auto two = plain("");
  one.say(R"({"message":1})");
  EXPECT_THAT(one.next(), HasSubstr("bad_envelope"));
  one.say(R"({"message":1,"to_user":null})");
  EXPECT_THAT(one.next(), HasSubstr("bad_envelope"));
  one.say(R"({"message":1,"to_user":"carol"})");
  EXPECT_THAT(one.next(), HasSubstr("not_a_member"));
  EXPECT_THAT(two.all(), IsEmpty());
}

TEST_P(RouterTest, AnAnonymousSocketDoesNotChangePresenceIfBothUsersArePresent) {
  auto alice = v1("alice");
  auto bob = v1("bob");
  alice.all();
  bob.all();
  {
    auto one = plain("");
    EXPECT_THAT(alice.all(), IsEmpty()) << "bob was present before";
    EXPECT_THAT(bob.all(), IsEmpty()) << "alice was present before";
  }
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(bob.all(), IsEmpty());
}

TEST_P(RouterTest, AnAnonymousSocketAloneMakesTheOtherUserPresent) {
  auto alice = v1("alice");
  alice.all();
  std::optional<FakeChat> one(std::in_place, router, kPlain, "alice_bob", "");
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", true)));
  auto tab = v1("alice");
  EXPECT_THAT(tab.all(), ElementsAre(presence("bob", true)));
  one.reset();
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", false)));
}

// ---- receivers -------------------------------------------------------------------------------

TEST_P(RouterTest, RefusesReceiversOtherThanTheOtherUser) {
  auto alice = v1("alice");
  auto bob = v1("bob");
  FakePush carol(router, kV1, "carol");
  alice.all();
  bob.all();
  for (const auto* user : {"carol", "alice", "", "BOB", "nobody"}) {
    alice.say(std::string(R"({"message":1,"id":"m","to_user":")") + user + "\"}");
    const auto error = alice.next();
    EXPECT_THAT(error, HasSubstr(R"("code":"not_a_member")")) << user;
    EXPECT_THAT(error, HasSubstr(R"("id":"m")")) << user;
  }
  EXPECT_THAT(bob.all(), IsEmpty());
  EXPECT_THAT(carol.all(), IsEmpty());
  EXPECT_EQ(relay.recorder.errors, 5);
  EXPECT_THAT(relay.recorder.entries, IsEmpty());
}

TEST_P(RouterTest, RefusesWithTheSameTextWhetherOrNotTheUserExists) {
  auto alice = plain("alice");
  alice.say(R"({"message":1,"to_user":"carol"})");
  const auto without = alice.next();
  FakePush carol(router, kPlain, "carol");
  FakeChat carol_chat(router, kPlain, "alice_carol", "carol");
  alice.say(R"({"message":1,"to_user":"carol"})");
  EXPECT_EQ(alice.next(), without);
}

TEST_P(RouterTest, AnswersBadInputAndKeepsTheSocketOpen) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say("{\"message\":");
  EXPECT_THAT(alice.next(), HasSubstr(R"("code":"bad_json")"));
  alice.say("[1]");
  EXPECT_THAT(alice.next(), HasSubstr(R"("code":"bad_envelope")"));
  alice.say(R"({"message":"still here"})");
  EXPECT_EQ(alice.next(), R"({"message":"still here"})");
  EXPECT_EQ(bob.next(), R"({"message":"still here"})");
  EXPECT_EQ(relay.recorder.errors, 2);
  EXPECT_THAT(relay.recorder.codes, ElementsAre(ErrorCode::bad_json, ErrorCode::bad_envelope));
}

// ---- fidelity and order ----------------------------------------------------------------------

TEST_P(RouterTest, SendsEveryValueByteForByte) {
  auto alice = plain("alice");
  auto bob = v1("bob");
  FakeChat carol(router, kV1, "carol_dave", "carol");
  FakePush dave(router, kPlain, "dave");
  auto texts = json_texts();
  texts.push_back(R"({"a":1,"a":2, "to_user":"carol" })");
  for (const auto& json : texts) {
    const auto first = json.find_first_not_of(" \t\r\n");
    const auto bare = json.substr(first, json.find_last_not_of(" \t\r\n") - first + 1);
    bob.all();
    alice.say("{\"message\":" + json + "}", {7, 7});
    EXPECT_EQ(alice.next(), "{\"message\":" + bare + "}");
    EXPECT_EQ(bob.next(), "{\"message\":" + bare + R"(,"from":"alice","id":null,"at":7})");
    carol.say("{\"message\":" + json + "}", {7, 7});
    EXPECT_EQ(dave.next(), "{\"event\":{\"message\":" + bare + R"(,"group":"carol_dave"}})");
  }
}

TEST_P(RouterTest, BothEndsSeeTheSameOrder) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  auto tab = plain("bob");
  std::vector<std::string> said;
  std::mt19937 random(7);
  for (int i = 0; i < 200; ++i) {
    auto* sender = std::vector{&alice, &bob, &tab}[random() % 3];
    said.push_back("{\"message\":" + std::to_string(i) + "}");
    sender->say(said.back());
  }
  EXPECT_EQ(alice.all(), said);
  EXPECT_EQ(bob.all(), said);
  EXPECT_EQ(tab.all(), said);
}

// ---- full queues -----------------------------------------------------------------------------

TEST_P(RouterTest, PushesIfNoChatSocketOfTheReceiverAcceptsTheMessage) {
  auto alice = v1("alice");
  auto bob = plain("bob");
  FakePush bob_push(router, kPlain, "bob");
  alice.all();
  bob.capacity = 0;
  alice.say(R"({"message":1,"id":"m"})", {7, 7});
  EXPECT_THAT(alice.all(), ElementsAre(R"({"ack":{"id":"m","route":"push","reached":1,"at":7}})"));
  EXPECT_EQ(bob_push.all().size(), 1U);
}

TEST_P(RouterTest, DoesNotPushIfOneChatSocketAcceptsTheMessage) {
  auto alice = v1("alice");
  auto bob1 = plain("bob");
  auto bob2 = plain("bob");
  FakePush bob_push(router, kPlain, "bob");
  alice.all();
  bob1.capacity = 0;
  alice.say(R"({"message":1})", {7, 7});
  EXPECT_THAT(alice.all(), ElementsAre(R"({"ack":{"id":null,"route":"chat","reached":1,"at":7}})"));
  EXPECT_THAT(bob_push.all(), IsEmpty());
}

TEST_P(RouterTest, DoesNotEchoToAPlainSenderIfAFullReceiverGotAPush) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  bob.capacity = 0;
  alice.say(R"({"message":1})");
  EXPECT_THAT(alice.all(), IsEmpty());
}

TEST_P(RouterTest, CountsOnlyThePushSocketsThatAccepted) {
  auto alice = v1("alice");
  FakePush bob1(router, kV1, "bob");
  FakePush bob2(router, kV1, "bob");
  alice.all();
  bob1.capacity = 0;
  alice.say(R"({"message":1})", {7, 7});
  EXPECT_THAT(alice.next(), HasSubstr(R"("route":"push","reached":1)"));
  bob2.capacity = 0;
  alice.say(R"({"message":1})", {7, 7});
  EXPECT_THAT(alice.next(), HasSubstr(R"("route":"none","reached":0)"));
}

TEST_P(RouterTest, AFullQueueDoesNotAffectOtherSockets) {
  auto alice = plain("alice");
  auto slow = plain("bob");
  auto fast = plain("bob");
  slow.capacity = 1;
  for (int i = 0; i < 5; ++i) alice.say(R"({"message":1})");
  EXPECT_EQ(fast.all().size(), 5U);
  EXPECT_EQ(slow.all().size(), 1U);
  EXPECT_EQ(slow.refused, 4U);
  EXPECT_EQ(alice.all().size(), 5U);
}

// ---- who took a message ----------------------------------------------------------------------

TEST_P(RouterTest, EachDeliverySaysHowManySocketsTakeTheMessage) {
  auto alice = v1("alice");
  FakePush push1(router, kV1, "bob");
  FakePush push2(router, kPlain, "bob");
  alice.say(R"({"message":1})");
  EXPECT_THAT(push1.taken, ElementsAre(2));
  EXPECT_THAT(push2.taken, ElementsAre(2));
  auto bob1 = plain("bob");
  alice.say(R"({"message":2})");
  EXPECT_THAT(bob1.taken, ElementsAre(1));
  auto bob2 = v1("bob");
  auto anybody = plain("");
  alice.say(R"({"message":3})");
  EXPECT_THAT(bob1.taken, ElementsAre(1, 3));
  EXPECT_THAT(anybody.taken, ElementsAre(3)) << "it counts as the receiver's";
  anybody.say(R"({"message":4,"to_user":"bob"})");
  EXPECT_THAT(bob2.taken, ElementsAre(3, 2)) << "but not as its own";
}

TEST_P(RouterTest, ASocketWhoseQueueIsFullIsNotCountedAsOneThatTookTheMessage) {
  auto alice = v1("alice");
  auto bob1 = plain("bob");
  auto bob2 = plain("bob");
  auto bob3 = plain("bob");
  FakePush push1(router, kV1, "bob");
  FakePush push2(router, kV1, "bob");
  alice.say(R"({"message":1})");
  bob2.capacity = 0;
  alice.say(R"({"message":2})");
  EXPECT_THAT(bob1.taken, ElementsAre(3, 2));
  EXPECT_THAT(bob2.taken, ElementsAre(3)) << "the message before is another one";
  EXPECT_THAT(bob3.taken, ElementsAre(3, 2));
  bob1.capacity = bob3.capacity = push1.capacity = 0;
  alice.say(R"({"message":3})");
  EXPECT_THAT(push2.taken, ElementsAre(1));
  EXPECT_THAT(bob1.taken, ElementsAre(3, 2));
}

TEST_P(RouterTest, EveryMessageHasItsOwnKey) {
  auto alice = v1("alice");
  auto bob = v1("bob");
  alice.say(R"({"message":1,"id":"m"})");
  alice.say(R"({"message":1,"id":"m"})");
  bob.say(R"({"message":1})");
  relay.notify("bob", "1", {7, 7});
  relay.notify("carol", "1", {7, 7});
  std::set<std::uint64_t> keys(relay.recorder.keys.begin(), relay.recorder.keys.end());
  EXPECT_EQ(keys.size(), 5U);
  EXPECT_EQ(keys.count(0), 0U);
}

// ---- reports ---------------------------------------------------------------------------------

TEST_P(RouterTest, ReportsEachMessageOnceWithItsOutcome) {
  auto alice = v1("alice");
  alice.say(R"({"message":"abc","id":"m0"})", {5, 5});
  std::optional<FakePush> bob_push(std::in_place, router, kV1, "bob");
  alice.say(R"({"message":"abc","id":"m1"})", {6, 6});
  auto bob = plain("bob");
  alice.say(R"({"message":[1, 2],"id":"m2"})", {7, 7});
  bob.say(R"({"message":0})", {8, 8});
  EXPECT_THAT(
      relay.recorder.entries,
      ElementsAre(Recorder::Entry{Outcome::undelivered, 5, "alice_bob", "alice", "bob", "m0", 0, 5},
                  Recorder::Entry{Outcome::pushed, 6, "alice_bob", "alice", "bob", "m1", 1, 5},
                  Recorder::Entry{Outcome::chat, 7, "alice_bob", "alice", "bob", "m2", 1, 6},
                  Recorder::Entry{Outcome::chat, 8, "alice_bob", "bob", "alice", "", 1, 1}));
}

TEST_P(RouterTest, OnlyTextsForTheReceiverAreDeliveries) {
  auto alice = v1("alice");
  auto tab = v1("alice");
  auto bob = v1("bob");
  alice.say(R"({"message":1})");
  alice.say(R"({"signal":1})");
  alice.say("{");
  EXPECT_THAT(bob.deliveries, ElementsAre("bob"));
  EXPECT_THAT(alice.deliveries, IsEmpty());
  EXPECT_THAT(tab.deliveries, IsEmpty());
}

TEST_P(RouterTest, ADeliveryNamesTheSideOfItsReceiver) {
  // Each name is the beginning of the other one.
  FakeChat al(router, kPlain, "al_alice", "al");
  FakeChat alice(router, kPlain, "al_alice", "alice");
  FakeChat anonymous(router, kPlain, "al_alice", "");
  al.say(R"({"message":1})");
  alice.say(R"({"message":2})");
  anonymous.say(R"({"message":3,"to_user":"al"})");
  EXPECT_THAT(alice.delivery_sides, ElementsAre(Side::hi));
  EXPECT_THAT(al.delivery_sides, ElementsAre(Side::lo, Side::lo));
  EXPECT_THAT(anonymous.delivery_sides, ElementsAre(Side::hi, Side::lo));
}

// ---- calls of the host application -----------------------------------------------------------

TEST_P(RouterTest, NotifiesEveryPushSocketOfTheUser) {
  FakePush plain_push(router, kPlain, "bob");
  FakePush v1_push(router, kV1, "bob");
  FakePush carol(router, kV1, "carol");
  auto bob = plain("bob");
  EXPECT_EQ(relay.notify("bob", R"({"disk" :"full"})", {7, 7}), 2U);
  EXPECT_EQ(plain_push.next(), R"({"event":{"message":{"disk" :"full"},"group":null}})");
  EXPECT_EQ(v1_push.next(),
            R"({"event":{"message":{"disk" :"full"},"group":null,"from":null,"id":null,"at":7}})");
  EXPECT_THAT(carol.all(), IsEmpty());
  EXPECT_THAT(bob.all(), IsEmpty());
  EXPECT_THAT(relay.recorder.entries,
              ElementsAre(Recorder::Entry{Outcome::pushed, 7, "", "", "bob", "", 2, 16}));
}

TEST_P(RouterTest, ANotificationWithoutAPushSocketIsUndelivered) {
  auto bob = plain("bob");
  EXPECT_EQ(relay.notify("bob", "1", {7, 7}), 0U);
  EXPECT_EQ(relay.notify("carol", "1", {7, 7}), 0U);
  EXPECT_EQ(relay.recorder.entries.size(), 2U);
  EXPECT_EQ(relay.recorder.entries[0].outcome, Outcome::undelivered);
}

TEST_P(RouterTest, ReportsPushSocketsAndGroupsOfAUser) {
  EXPECT_EQ(relay.presence("bob").push_sockets, 0U);
  EXPECT_THAT(relay.presence("bob").groups, IsEmpty());
  FakeChat b(router, kPlain, "bob_carol", "bob");
  FakeChat a(router, kPlain, "alice_bob", "bob");
  FakeChat a2(router, kV1, "alice_bob", "bob");
  FakeChat other(router, kPlain, "bob_dave", "dave");
  FakePush p1(router, kPlain, "bob");
  FakePush p2(router, kPlain, "bob");
  EXPECT_EQ(relay.presence("bob").push_sockets, 2U);
  EXPECT_THAT(relay.presence("bob").groups, ElementsAre("alice_bob", "bob_carol"));
  EXPECT_THAT(relay.presence("alice").groups, IsEmpty());
  EXPECT_EQ(relay.presence("alice").push_sockets, 0U);
  EXPECT_THAT(relay.presence("dave").groups, ElementsAre("bob_dave"));
}

TEST_P(RouterTest, AnAnonymousSocketIsNotInTheReportOfAUser) {
  auto one = plain("");
  EXPECT_THAT(relay.presence("alice").groups, IsEmpty());
  EXPECT_THAT(relay.presence("bob").groups, IsEmpty());
}

TEST_P(RouterTest, EndsEverySocketOfTheUser) {
  auto bob1 = plain("bob");
  auto bob2 = v1("bob");
  FakeChat bob3(router, kV1, "bob_carol", "bob");
  FakePush bob4(router, kPlain, "bob");
  auto alice = plain("alice");
  auto someone = plain("");
  FakePush carol(router, kPlain, "carol");
  EXPECT_EQ(relay.end_sessions("bob"), 4U);
  EXPECT_EQ(bob1.ended, 1);
  EXPECT_EQ(bob2.ended, 1);
  EXPECT_EQ(bob3.ended, 1);
  EXPECT_EQ(bob4.ended, 1);
  EXPECT_EQ(alice.ended, 0);
  EXPECT_EQ(someone.ended, 0);
  EXPECT_EQ(carol.ended, 0);
  EXPECT_EQ(relay.end_sessions("nobody"), 0U);
}

TEST_P(RouterTest, DestroysGroupsWithoutSockets) {
  EXPECT_EQ(relay.directory.group_count(), 0U);
  {
    auto alice = plain("alice");
    auto bob = v1("bob");
    FakeChat carol(router, kPlain, "carol_dave", "");
    EXPECT_EQ(relay.directory.group_count(), 2U);
  }
  EXPECT_EQ(relay.directory.group_count(), 0U);
}

// ---- rate limits -----------------------------------------------------------------------------

TEST_P(RouterTest, LimitsTheRateOfAllSocketsOfAUserTogether) {
  relay.directory.set_rate_limit({10, 3});
  auto tab1 = plain("alice");
  auto tab2 = v1("alice");
  FakeChat elsewhere(router, kPlain, "alice_carol", "alice");
  tab2.all();
  tab1.say(R"({"message":1})");
  tab2.say(R"({"message":1})");
  elsewhere.say(R"({"message":1})");
  tab2.all();
  tab2.say(R"({"message":1,"id":"m4"})");
  EXPECT_THAT(tab2.next(),
              testing::AllOf(HasSubstr(R"("code":"rate_limited")"), HasSubstr(R"("id":"m4")")));
  tab1.all();
  tab1.say(R"({"message":1})");
  EXPECT_THAT(tab1.next(), HasSubstr("rate_limited"));
  tab1.say(R"({"message":1})", {2000, 1100});
  EXPECT_THAT(tab1.all(), IsEmpty()) << "100 ms later one more is allowed";
}

TEST_P(RouterTest, LimitsEachUserSeparately) {
  relay.directory.set_rate_limit({10, 1});
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say(R"({"message":1})");
  alice.say(R"({"message":2})");
  bob.say(R"({"message":3})");
  EXPECT_THAT(bob.all(), ElementsAre(R"({"message":1})", R"({"message":3})"));
}

TEST_P(RouterTest, LimitsEachAnonymousSocketSeparately) {
  relay.directory.set_rate_limit({10, 1});
  auto one = plain("");
  auto two = plain("");
  one.say(R"({"message":1,"to_user":"bob"})");
  two.say(R"({"message":2,"to_user":"bob"})");
  EXPECT_EQ(relay.recorder.entries.size(), 2U);
  one.say(R"({"message":3,"to_user":"bob"})");
  EXPECT_EQ(relay.recorder.entries.size(), 2U);
  EXPECT_EQ(relay.recorder.errors, 1);
}

TEST_P(RouterTest, SignalsInvalidFramesAndTokensCountAgainstTheRate) {
  relay.directory.set_rate_limit({10, 3});
  auto alice = v1("alice");
  FakePush push(router, kV1, "alice");
  alice.say(R"({"signal":1})");
  alice.say("{");
  push.say(R"({"token":"t"})");
  alice.all();
  alice.say(R"({"signal":1})");
  EXPECT_THAT(alice.next(), HasSubstr("rate_limited"));
  push.say(R"({"token":"t"})");
  EXPECT_THAT(push.next(), HasSubstr("rate_limited"));
  EXPECT_THAT(push.tokens, ElementsAre("t"));
}

TEST_P(RouterTest, SendsNothingBeyondTheRateLimit) {
  relay.directory.set_rate_limit({10, 1});
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say(R"({"message":1})");
  alice.say(R"({"message":2})");
  EXPECT_THAT(bob.all(), ElementsAre(R"({"message":1})"));
  EXPECT_EQ(relay.recorder.entries.size(), 1U);
}

// ---- random joins and leaves -----------------------------------------------------------------

TEST_P(RouterTest, PresenceIsCorrectAfterRandomJoinsAndLeaves) {
  // Sockets join and leave at random. Presence is compared with a count kept here.
  constexpr unsigned kSeed = 1002;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937 random(kSeed);
  const std::vector<std::string> groups = {"alice_bob", "alice_carol", "bob_carol"};
  struct Open {
    std::string group, user;
    std::unique_ptr<FakeChat> socket;
  };
  std::vector<Open> open;
  for (int step = 0; step < 5000; ++step) {
    if (open.size() < 12 && random() % 2 == 0) {
      const auto& group = groups[random() % groups.size()];
      const auto split = group.find('_');
      const std::string names[] = {group.substr(0, split), group.substr(split + 1), ""};
      const auto user = names[random() % 3];
      const auto protocol = user.empty() || random() % 2 == 0 ? kPlain : kV1;
      open.push_back({group, user, std::make_unique<FakeChat>(router, protocol, group, user)});
    } else if (!open.empty()) {
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(random() % open.size()));
    }
    for (const std::string user : {"alice", "bob", "carol"}) {
      std::vector<std::string> expected;
      for (const auto& group : groups) {
        if (std::ranges::any_of(
                open, [&](const Open& o) { return o.group == group && o.user == user; })) {
          expected.push_back(group);
        }
      }
      ASSERT_EQ(relay.presence(user).groups, expected) << user << " at step " << step;
    }
    // The last presence that a v1 socket received is correct.
    for (auto& o : open) {
      if (o.socket->protocol() != kV1) continue;
      if (o.socket->texts.empty()) continue;
      const bool told = o.socket->texts.back().find("true") != std::string::npos;
      const bool there = std::ranges::any_of(
          open, [&](const Open& other) { return other.group == o.group && other.user != o.user; });
      ASSERT_EQ(told, there) << o.user << " in " << o.group << " at step " << step;
    }
  }
  open.clear();
  EXPECT_EQ(relay.directory.group_count(), 0U);
}

}  // namespace
}  // namespace waystation::test
