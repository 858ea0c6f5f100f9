#include "relay/hub.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "unit/relay/fake_members.hpp"
#include "unit/relay/json_texts.hpp"

namespace waystation {
namespace {

using test::FakeChat;
using test::FakePush;
using test::Recorder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr auto kPlain = Protocol::plain;
constexpr auto kV1 = Protocol::v1;

/// A hub with nobody in it.
class Hub : public testing::Test {
 protected:
  FakeChat plain(std::string_view user) { return {hub, kPlain, "alice_bob", user}; }
  FakeChat v1(std::string_view user) { return {hub, kV1, "alice_bob", user}; }

  Recorder seen;
  waystation::Hub hub{seen, RateLimit{}};
};

std::string presence(const char* user, bool present) {
  return std::string("{\"presence\":{\"user\":\"") + user +
         "\",\"present\":" + (present ? "true" : "false") + "}}";
}

// ---- plain: the original protocol ------------------------------------------------------------

TEST_F(Hub, GivesAPlainMessageToBothSidesWhenTheReceiverIsPresent) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say(R"({"message":"hi","to_user":"bob"})");
  EXPECT_THAT(alice.all(), ElementsAre(R"({"message":"hi"})"));
  EXPECT_THAT(bob.all(), ElementsAre(R"({"message":"hi"})"));
}

TEST_F(Hub, PushesWhenTheReceiverIsNotPresent) {
  auto alice = plain("alice");
  FakePush bob(hub, kPlain, "bob");
  alice.say(R"({"message":"hi","to_user":"bob"})");
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(bob.all(), ElementsAre(R"({"event":{"message":"hi","group":"alice_bob"}})"));
}

TEST_F(Hub, PushesToEveryPushSocketOfTheReceiver) {
  auto alice = plain("alice");
  FakePush bob1(hub, kPlain, "bob");
  FakePush bob2(hub, kPlain, "bob");
  FakePush carol(hub, kPlain, "carol");
  FakePush alice_push(hub, kPlain, "alice");
  alice.say(R"({"message":1,"to_user":"bob"})");
  EXPECT_EQ(bob1.all().size(), 1U);
  EXPECT_EQ(bob2.all().size(), 1U);
  EXPECT_THAT(carol.all(), IsEmpty());
  EXPECT_THAT(alice_push.all(), IsEmpty());
}

TEST_F(Hub, DoesNotPushWhenTheReceiverIsPresent) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  FakePush bob_push(hub, kPlain, "bob");
  alice.say(R"({"message":1})");
  EXPECT_THAT(bob_push.all(), IsEmpty());
  EXPECT_EQ(bob.all().size(), 1U);
}

TEST_F(Hub, SaysNothingToAPlainSenderWhenNobodyIsThere) {
  auto alice = plain("alice");
  alice.say(R"({"message":1,"to_user":"bob"})");
  EXPECT_THAT(alice.all(), IsEmpty());
}

TEST_F(Hub, GivesAPlainMessageToAllTabsOfBothSides) {
  auto alice1 = plain("alice");
  auto alice2 = plain("alice");
  auto bob1 = plain("bob");
  auto bob2 = plain("bob");
  alice1.say(R"({"message":1,"to_user":"bob"})");
  for (auto* socket : {&alice1, &alice2, &bob1, &bob2}) {
    EXPECT_THAT(socket->all(), ElementsAre(R"({"message":1})"));
  }
}

TEST_F(Hub, TwoTabsOfTheSenderAreNotTheReceiver) {
  auto alice1 = plain("alice");
  auto alice2 = plain("alice");
  FakePush bob(hub, kPlain, "bob");
  alice1.say(R"({"message":1,"to_user":"bob"})");
  EXPECT_EQ(bob.all().size(), 1U);
  EXPECT_THAT(alice1.all(), IsEmpty());
  EXPECT_THAT(alice2.all(), IsEmpty());
}

TEST_F(Hub, TakesAMissingMessageInPlainForNull) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say(R"({"to_user":"bob"})");
  EXPECT_EQ(bob.next(), R"({"message":null})");
}

TEST_F(Hub, TakesAMissingToUserForTheOtherUser) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say(R"({"message":1})");
  alice.say(R"({"message":2,"to_user":null})");
  EXPECT_THAT(bob.all(), ElementsAre(R"({"message":1})", R"({"message":2})"));
}

TEST_F(Hub, KeepsGroupsApart) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  FakeChat alice_carol(hub, kPlain, "alice_carol", "alice");
  FakeChat carol(hub, kPlain, "alice_carol", "carol");
  alice.say(R"({"message":1})");
  EXPECT_EQ(bob.all().size(), 1U);
  EXPECT_THAT(carol.all(), IsEmpty());
  EXPECT_THAT(alice_carol.all(), IsEmpty());
}

TEST_F(Hub, BeingInAnotherGroupIsNotBeingPresent) {
  auto alice = plain("alice");
  FakeChat bob_elsewhere(hub, kPlain, "bob_carol", "bob");
  FakePush bob(hub, kPlain, "bob");
  alice.say(R"({"message":1})");
  EXPECT_THAT(bob_elsewhere.all(), IsEmpty());
  EXPECT_EQ(bob.all().size(), 1U);
}

TEST_F(Hub, IgnoresWhatAPlainPushSocketSays) {
  FakePush bob(hub, kPlain, "bob");
  for (const auto* text :
       {"hello", "{", R"({"message":1,"to_user":"alice"})", R"({"token":"a"})"}) {
    bob.say(text);
  }
  EXPECT_THAT(bob.all(), IsEmpty());
  EXPECT_THAT(bob.tokens, IsEmpty());
  EXPECT_EQ(seen.errors, 0);
}

TEST_F(Hub, SendsAPlainSocketNeitherPresenceNorSignalsNorAcks) {
  auto alice = plain("alice");
  {
    auto bob = v1("bob");
    bob.say(R"({"signal":1})");
  }
  EXPECT_THAT(alice.all(), IsEmpty());
}

// ---- v1 --------------------------------------------------------------------------------------

TEST_F(Hub, TellsAV1MemberOnOpeningWhetherTheOtherOneIsThere) {
  auto alice = v1("alice");
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", false)));
  auto bob = v1("bob");
  EXPECT_THAT(bob.all(), ElementsAre(presence("alice", true)));
}

TEST_F(Hub, TellsOfTheFirstTabInAndTheLastTabOut) {
  auto alice = v1("alice");
  alice.all();
  std::optional<FakeChat> bob1(std::in_place, hub, kV1, "alice_bob", "bob");
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", true)));
  std::optional<FakeChat> bob2(std::in_place, hub, kPlain, "alice_bob", "bob");
  bob1.reset();
  EXPECT_THAT(alice.all(), IsEmpty());
  bob2.reset();
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", false)));
  std::optional<FakeChat> bob3(std::in_place, hub, kPlain, "alice_bob", "bob");
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", true)));
}

TEST_F(Hub, TellsEveryV1TabOfTheOtherSideAndNobodyElse) {
  auto alice1 = v1("alice");
  auto alice2 = v1("alice");
  auto alice_plain = plain("alice");
  FakeChat elsewhere(hub, kV1, "alice_carol", "alice");
  for (auto* socket : {&alice1, &alice2, &alice_plain, &elsewhere}) socket->all();
  auto bob1 = v1("bob");
  auto bob2 = v1("bob");
  EXPECT_THAT(alice1.all(), ElementsAre(presence("bob", true)));
  EXPECT_THAT(alice2.all(), ElementsAre(presence("bob", true)));
  EXPECT_THAT(alice_plain.all(), IsEmpty());
  EXPECT_THAT(elsewhere.all(), IsEmpty());
  EXPECT_THAT(bob1.all(), ElementsAre(presence("alice", true)));
}

TEST_F(Hub, SendsTheReceiverTheMessageAndTheSenderTheVerdict) {
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

TEST_F(Hub, ReachedCountsTheReceiversSocketsOnly) {
  auto alice = v1("alice");
  auto alice2 = v1("alice");
  auto bob1 = v1("bob");
  auto bob2 = plain("bob");
  auto bob3 = v1("bob");
  alice.all();
  alice.say(R"({"message":1})", {7, 7});
  EXPECT_EQ(alice.next(), R"({"ack":{"id":null,"route":"chat","reached":3,"at":7}})");
}

TEST_F(Hub, AcknowledgesAPush) {
  auto alice = v1("alice");
  FakePush bob1(hub, kV1, "bob");
  FakePush bob2(hub, kPlain, "bob");
  alice.all();
  alice.say(R"({"message":"x","id":"m"})", {7, 7});
  EXPECT_THAT(alice.all(), ElementsAre(R"({"ack":{"id":"m","route":"push","reached":2,"at":7}})"));
  EXPECT_THAT(
      bob1.all(),
      ElementsAre(
          R"({"event":{"message":"x","group":"alice_bob","from":"alice","id":"m","at":7}})"));
  EXPECT_THAT(bob2.all(), ElementsAre(R"({"event":{"message":"x","group":"alice_bob"}})"));
}

TEST_F(Hub, AcknowledgesThatNobodyIsThere) {
  auto alice = v1("alice");
  alice.all();
  alice.say(R"({"message":"x","id":"m"})", {7, 7});
  EXPECT_THAT(alice.all(), ElementsAre(R"({"ack":{"id":"m","route":"none","reached":0,"at":7}})"));
}

TEST_F(Hub, ShowsOwnTabsWhatWasSaidOnEveryRoute) {
  auto alice = v1("alice");
  auto tab = v1("alice");
  auto plain_tab = plain("alice");
  tab.all();
  const std::string message = R"({"message":1,"from":"alice","id":null,"at":7})";

  alice.say(R"({"message":1})", {7, 7});
  EXPECT_THAT(tab.all(), ElementsAre(message)) << "on route none";
  EXPECT_THAT(plain_tab.all(), ElementsAre(R"({"message":1})")) << "on route none";
  {
    FakePush bob(hub, kV1, "bob");
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

TEST_F(Hub, ShowsV1TabsWhatAPlainTabOfTheSameUserSaid) {
  auto alice = plain("alice");
  auto tab = v1("alice");
  tab.all();
  alice.say(R"({"message":1})", {7, 7});
  EXPECT_THAT(tab.all(), ElementsAre(R"({"message":1,"from":"alice","id":null,"at":7})"));
  EXPECT_THAT(alice.all(), IsEmpty());
}

TEST_F(Hub, NeverEchoesToAV1Sender) {
  auto alice = v1("alice");
  auto bob = v1("bob");
  alice.all();
  alice.say(R"({"message":1})");
  EXPECT_THAT(alice.all(), ElementsAre(StartsWith(R"({"ack":)")));
}

TEST_F(Hub, AnswersEachSocketInItsOwnProtocol) {
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

TEST_F(Hub, PassesSignalsToTheGroupsOtherV1Sockets) {
  auto alice = v1("alice");
  auto tab = v1("alice");
  auto bob = v1("bob");
  auto bob_plain = plain("bob");
  FakePush bob_push(hub, kV1, "bob");
  FakeChat elsewhere(hub, kV1, "bob_carol", "bob");
  for (auto* socket : {&alice, &tab, &bob, &elsewhere}) socket->all();
  alice.say(R"({"signal":{"typing" :true}})");
  EXPECT_THAT(bob.all(), ElementsAre(R"({"signal":{"typing" :true},"from":"alice"})"));
  EXPECT_THAT(tab.all(), ElementsAre(R"({"signal":{"typing" :true},"from":"alice"})"));
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(bob_plain.all(), IsEmpty());
  EXPECT_THAT(bob_push.all(), IsEmpty());
  EXPECT_THAT(elsewhere.all(), IsEmpty());
}

TEST_F(Hub, NeitherPushesNorReportsSignals) {
  auto alice = v1("alice");
  alice.all();
  FakePush bob(hub, kV1, "bob");
  alice.say(R"({"signal":1})");
  EXPECT_THAT(bob.all(), IsEmpty());
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(seen.entries, IsEmpty());
}

TEST_F(Hub, AnswersPingsToTheirSenderAloneAndCountsNoError) {
  auto alice = v1("alice");
  auto bob = v1("bob");
  FakePush push(hub, kV1, "alice");
  FakePush plain(hub, kPlain, "alice");
  alice.all();
  bob.all();
  alice.say(R"({"ping": [1 ,2],"id":"ping-1"})");
  EXPECT_THAT(alice.all(), ElementsAre(R"({"pong":[1 ,2]})"));
  push.say(R"({"ping":"x"})");
  EXPECT_THAT(push.all(), ElementsAre(R"({"pong":"x"})"));
  plain.say(R"({"ping":1})");
  EXPECT_THAT(plain.all(), IsEmpty());
  EXPECT_THAT(bob.all(), IsEmpty());
  EXPECT_THAT(seen.entries, IsEmpty());
  EXPECT_EQ(seen.errors, 0);
}

TEST_F(Hub, HandsTokensOn) {
  auto alice = v1("alice");
  FakePush bob(hub, kV1, "bob");
  alice.all();
  alice.say(R"({"token":"abc"})");
  bob.say(R"({"token":"def"})");
  EXPECT_THAT(alice.tokens, ElementsAre("abc"));
  EXPECT_THAT(bob.tokens, ElementsAre("def"));
  EXPECT_THAT(alice.all(), IsEmpty());
}

TEST_F(Hub, RefusesMessagesOnAV1PushSocket) {
  FakePush bob(hub, kV1, "bob");
  bob.say(R"({"message":1})");
  EXPECT_THAT(bob.next(), HasSubstr("bad_envelope"));
  bob.say("{");
  EXPECT_THAT(bob.next(), HasSubstr("bad_json"));
}

// ---- anonymous sockets -----------------------------------------------------------------------

TEST_F(Hub, AnAnonymousSocketIsTheOtherUserForEveryoneElse) {
  auto someone = plain("");
  auto alice = plain("alice");
  alice.say(R"({"message":1,"to_user":"bob"})");
  EXPECT_THAT(someone.all(), ElementsAre(R"({"message":1})"));
  EXPECT_THAT(alice.all(), ElementsAre(R"({"message":1})"));
}

TEST_F(Hub, TwoAnonymousSocketsMeanThatBothAreThere) {
  auto one = plain("");
  auto two = plain("");
  FakePush alice(hub, kPlain, "alice");
  FakePush bob(hub, kPlain, "bob");
  one.say(R"({"message":1,"to_user":"bob"})");
  two.say(R"({"message":2,"to_user":"alice"})");
  EXPECT_THAT(one.all(), ElementsAre(R"({"message":1})", R"({"message":2})"));
  EXPECT_THAT(two.all(), ElementsAre(R"({"message":1})", R"({"message":2})"));
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(bob.all(), IsEmpty());
}

TEST_F(Hub, AnAnonymousSocketIsNotTheOtherUserForItself) {
  auto one = plain("");
  FakePush bob(hub, kV1, "bob");
  one.say(R"({"message":1,"to_user":"bob"})", {7, 7});
  EXPECT_THAT(one.all(), IsEmpty());
  EXPECT_THAT(
      bob.all(),
      ElementsAre(
          R"({"event":{"message":1,"group":"alice_bob","from":"alice","id":null,"at":7}})"));
}

TEST_F(Hub, TakesAnAnonymousSenderForTheOtherOne) {
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

TEST_F(Hub, AnAnonymousSocketMustSayToUser) {
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

TEST_F(Hub, AnAnonymousSocketIsPresenceToV1Members) {
  auto alice = v1("alice");
  auto bob = v1("bob");
  alice.all();
  bob.all();
  {
    auto one = plain("");
    EXPECT_THAT(alice.all(), IsEmpty()) << "bob was there already";
    EXPECT_THAT(bob.all(), IsEmpty()) << "alice was there already";
  }
  EXPECT_THAT(alice.all(), IsEmpty());
  EXPECT_THAT(bob.all(), IsEmpty());
}

TEST_F(Hub, AnAnonymousSocketAloneMakesTheOtherUserPresent) {
  auto alice = v1("alice");
  alice.all();
  std::optional<FakeChat> one(std::in_place, hub, kPlain, "alice_bob", "");
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", true)));
  auto tab = v1("alice");
  EXPECT_THAT(tab.all(), ElementsAre(presence("bob", true)));
  one.reset();
  EXPECT_THAT(alice.all(), ElementsAre(presence("bob", false)));
}

// ---- who it may be for -----------------------------------------------------------------------

TEST_F(Hub, RefusesMessagesToAnyoneButTheOtherUser) {
  auto alice = v1("alice");
  auto bob = v1("bob");
  FakePush carol(hub, kV1, "carol");
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
  EXPECT_EQ(seen.errors, 5);
  EXPECT_THAT(seen.entries, IsEmpty());
}

TEST_F(Hub, RefusesInTheSameWordsWhetherOrNotTheOtherUserExists) {
  auto alice = plain("alice");
  alice.say(R"({"message":1,"to_user":"carol"})");
  const auto without = alice.next();
  FakePush carol(hub, kPlain, "carol");
  FakeChat carol_chat(hub, kPlain, "alice_carol", "carol");
  alice.say(R"({"message":1,"to_user":"carol"})");
  EXPECT_EQ(alice.next(), without);
}

TEST_F(Hub, AnswersBadInputAndGoesOn) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say("{\"message\":");
  EXPECT_THAT(alice.next(), HasSubstr(R"("code":"bad_json")"));
  alice.say("[1]");
  EXPECT_THAT(alice.next(), HasSubstr(R"("code":"bad_envelope")"));
  alice.say(R"({"message":"still here"})");
  EXPECT_EQ(alice.next(), R"({"message":"still here"})");
  EXPECT_EQ(bob.next(), R"({"message":"still here"})");
  EXPECT_EQ(seen.errors, 2);
  EXPECT_THAT(seen.codes, ElementsAre(ErrorCode::bad_json, ErrorCode::bad_envelope));
}

// ---- fidelity and order ----------------------------------------------------------------------

TEST_F(Hub, PassesEveryValueOnByteForByte) {
  auto alice = plain("alice");
  auto bob = v1("bob");
  FakeChat carol(hub, kV1, "carol_dave", "carol");
  FakePush dave(hub, kPlain, "dave");
  auto texts = test::json_texts();
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

TEST_F(Hub, BothEndsSeeTheSameOrder) {
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

// ---- overflow --------------------------------------------------------------------------------

TEST_F(Hub, PushesWhenNoChatSocketOfTheReceiverTakesTheMessage) {
  auto alice = v1("alice");
  auto bob = plain("bob");
  FakePush bob_push(hub, kPlain, "bob");
  alice.all();
  bob.room = 0;
  alice.say(R"({"message":1,"id":"m"})", {7, 7});
  EXPECT_THAT(alice.all(), ElementsAre(R"({"ack":{"id":"m","route":"push","reached":1,"at":7}})"));
  EXPECT_EQ(bob_push.all().size(), 1U);
}

TEST_F(Hub, OneChatSocketThatTakesItIsEnough) {
  auto alice = v1("alice");
  auto bob1 = plain("bob");
  auto bob2 = plain("bob");
  FakePush bob_push(hub, kPlain, "bob");
  alice.all();
  bob1.room = 0;
  alice.say(R"({"message":1})", {7, 7});
  EXPECT_THAT(alice.all(), ElementsAre(R"({"ack":{"id":null,"route":"chat","reached":1,"at":7}})"));
  EXPECT_THAT(bob_push.all(), IsEmpty());
}

TEST_F(Hub, APlainSenderSeesNothingWhenAFullReceiverWasPushed) {
  auto alice = plain("alice");
  auto bob = plain("bob");
  bob.room = 0;
  alice.say(R"({"message":1})");
  EXPECT_THAT(alice.all(), IsEmpty());
}

TEST_F(Hub, CountsOnlyThePushSocketsThatTookIt) {
  auto alice = v1("alice");
  FakePush bob1(hub, kV1, "bob");
  FakePush bob2(hub, kV1, "bob");
  alice.all();
  bob1.room = 0;
  alice.say(R"({"message":1})", {7, 7});
  EXPECT_THAT(alice.next(), HasSubstr(R"("route":"push","reached":1)"));
  bob2.room = 0;
  alice.say(R"({"message":1})", {7, 7});
  EXPECT_THAT(alice.next(), HasSubstr(R"("route":"none","reached":0)"));
}

TEST_F(Hub, AFullReceiverDoesNotKeepOthersFromTheirs) {
  auto alice = plain("alice");
  auto slow = plain("bob");
  auto fast = plain("bob");
  slow.room = 1;
  for (int i = 0; i < 5; ++i) alice.say(R"({"message":1})");
  EXPECT_EQ(fast.all().size(), 5U);
  EXPECT_EQ(slow.all().size(), 1U);
  EXPECT_EQ(slow.refused, 4U);
  EXPECT_EQ(alice.all().size(), 5U);
}

// ---- what is reported ------------------------------------------------------------------------

TEST_F(Hub, ReportsEachMessageOnceWithItsOutcome) {
  auto alice = v1("alice");
  alice.say(R"({"message":"abc","id":"m0"})", {5, 5});
  std::optional<FakePush> bob_push(std::in_place, hub, kV1, "bob");
  alice.say(R"({"message":"abc","id":"m1"})", {6, 6});
  auto bob = plain("bob");
  alice.say(R"({"message":[1, 2],"id":"m2"})", {7, 7});
  bob.say(R"({"message":0})", {8, 8});
  EXPECT_THAT(
      seen.entries,
      ElementsAre(Recorder::Entry{Outcome::undelivered, 5, "alice_bob", "alice", "bob", "m0", 0, 5},
                  Recorder::Entry{Outcome::pushed, 6, "alice_bob", "alice", "bob", "m1", 1, 5},
                  Recorder::Entry{Outcome::chat, 7, "alice_bob", "alice", "bob", "m2", 1, 6},
                  Recorder::Entry{Outcome::chat, 8, "alice_bob", "bob", "alice", "", 1, 1}));
}

TEST_F(Hub, OnlyWhatGoesToTheReceiverCountsAsADelivery) {
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

// ---- notifications, presence, ends -----------------------------------------------------------

TEST_F(Hub, NotifiesEveryPushSocketOfAUser) {
  FakePush plain_push(hub, kPlain, "bob");
  FakePush v1_push(hub, kV1, "bob");
  FakePush carol(hub, kV1, "carol");
  auto bob = plain("bob");
  EXPECT_EQ(hub.notify("bob", R"({"disk" :"full"})", {7, 7}), 2U);
  EXPECT_EQ(plain_push.next(), R"({"event":{"message":{"disk" :"full"},"group":null}})");
  EXPECT_EQ(v1_push.next(),
            R"({"event":{"message":{"disk" :"full"},"group":null,"from":null,"id":null,"at":7}})");
  EXPECT_THAT(carol.all(), IsEmpty());
  EXPECT_THAT(bob.all(), IsEmpty());
  EXPECT_THAT(seen.entries,
              ElementsAre(Recorder::Entry{Outcome::pushed, 7, "", "", "bob", "", 2, 16}));
}

TEST_F(Hub, NotifyingNobodyReachesNobody) {
  auto bob = plain("bob");
  EXPECT_EQ(hub.notify("bob", "1", {7, 7}), 0U);
  EXPECT_EQ(hub.notify("carol", "1", {7, 7}), 0U);
  EXPECT_EQ(seen.entries.size(), 2U);
  EXPECT_EQ(seen.entries[0].outcome, Outcome::undelivered);
}

TEST_F(Hub, KnowsWhereAUserIsPresent) {
  EXPECT_EQ(hub.presence("bob").push_sockets, 0U);
  EXPECT_THAT(hub.presence("bob").groups, IsEmpty());
  FakeChat b(hub, kPlain, "bob_carol", "bob");
  FakeChat a(hub, kPlain, "alice_bob", "bob");
  FakeChat a2(hub, kV1, "alice_bob", "bob");
  FakeChat other(hub, kPlain, "bob_dave", "dave");
  FakePush p1(hub, kPlain, "bob");
  FakePush p2(hub, kPlain, "bob");
  EXPECT_EQ(hub.presence("bob").push_sockets, 2U);
  EXPECT_THAT(hub.presence("bob").groups, ElementsAre("alice_bob", "bob_carol"));
  EXPECT_THAT(hub.presence("alice").groups, IsEmpty());
  EXPECT_EQ(hub.presence("alice").push_sockets, 0U);
  EXPECT_THAT(hub.presence("dave").groups, ElementsAre("bob_dave"));
}

TEST_F(Hub, AnAnonymousSocketMakesNobodyPresentByName) {
  auto one = plain("");
  EXPECT_THAT(hub.presence("alice").groups, IsEmpty());
  EXPECT_THAT(hub.presence("bob").groups, IsEmpty());
}

TEST_F(Hub, EndsEverySocketOfAUser) {
  auto bob1 = plain("bob");
  auto bob2 = v1("bob");
  FakeChat bob3(hub, kV1, "bob_carol", "bob");
  FakePush bob4(hub, kPlain, "bob");
  auto alice = plain("alice");
  auto someone = plain("");
  FakePush carol(hub, kPlain, "carol");
  EXPECT_EQ(hub.end_sessions("bob"), 4U);
  EXPECT_EQ(bob1.ended, 1);
  EXPECT_EQ(bob2.ended, 1);
  EXPECT_EQ(bob3.ended, 1);
  EXPECT_EQ(bob4.ended, 1);
  EXPECT_EQ(alice.ended, 0);
  EXPECT_EQ(someone.ended, 0);
  EXPECT_EQ(carol.ended, 0);
  EXPECT_EQ(hub.end_sessions("nobody"), 0U);
}

TEST_F(Hub, ForgetsGroupsWithoutSockets) {
  EXPECT_EQ(hub.group_count(), 0U);
  {
    auto alice = plain("alice");
    auto bob = v1("bob");
    FakeChat carol(hub, kPlain, "carol_dave", "");
    EXPECT_EQ(hub.group_count(), 2U);
  }
  EXPECT_EQ(hub.group_count(), 0U);
}

// ---- rate limits -----------------------------------------------------------------------------

TEST_F(Hub, LimitsAUserOnAllSocketsTogether) {
  hub.set_rate_limit({10, 3});
  auto tab1 = plain("alice");
  auto tab2 = v1("alice");
  FakeChat elsewhere(hub, kPlain, "alice_carol", "alice");
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
  EXPECT_THAT(tab1.all(), IsEmpty()) << "a tenth of a second later there is room for one";
}

TEST_F(Hub, LimitsOneUserWithoutTheOther) {
  hub.set_rate_limit({10, 1});
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say(R"({"message":1})");
  alice.say(R"({"message":2})");
  bob.say(R"({"message":3})");
  EXPECT_THAT(bob.all(), ElementsAre(R"({"message":1})", R"({"message":3})"));
}

TEST_F(Hub, LimitsAnonymousSocketsEachByItself) {
  hub.set_rate_limit({10, 1});
  auto one = plain("");
  auto two = plain("");
  one.say(R"({"message":1,"to_user":"bob"})");
  two.say(R"({"message":2,"to_user":"bob"})");
  EXPECT_EQ(seen.entries.size(), 2U);
  one.say(R"({"message":3,"to_user":"bob"})");
  EXPECT_EQ(seen.entries.size(), 2U);
  EXPECT_EQ(seen.errors, 1);
}

TEST_F(Hub, SignalsBadFramesAndTokensCountAsMessages) {
  hub.set_rate_limit({10, 3});
  auto alice = v1("alice");
  FakePush push(hub, kV1, "alice");
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

TEST_F(Hub, PassesNothingOnThatIsBeyondTheLimit) {
  hub.set_rate_limit({10, 1});
  auto alice = plain("alice");
  auto bob = plain("bob");
  alice.say(R"({"message":1})");
  alice.say(R"({"message":2})");
  EXPECT_THAT(bob.all(), ElementsAre(R"({"message":1})"));
  EXPECT_EQ(seen.entries.size(), 1U);
}

// ---- many at random --------------------------------------------------------------------------

TEST_F(Hub, NeverLosesCountOfWhoIsThere) {
  // Sockets come and go at random; what the hub says of presence is compared with a plain count.
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
      open.push_back({group, user, std::make_unique<FakeChat>(hub, protocol, group, user)});
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
      ASSERT_EQ(hub.presence(user).groups, expected) << user << " at step " << step;
    }
    // What a v1 socket last heard of the other user is true.
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
  EXPECT_EQ(hub.group_count(), 0U);
}

}  // namespace
}  // namespace waystation
