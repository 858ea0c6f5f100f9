#include "relay/reachability.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "unit/relay/fake_members.hpp"

namespace waystation::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr auto kPlain = Protocol::plain;
constexpr auto kV1 = Protocol::v1;
constexpr auto kGraceMs = Reachability::kGraceMs;

std::string presence(const std::string& user, bool present, bool reachable) {
  return "{\"presence\":{\"user\":\"" + user + "\",\"present\":" + (present ? "true" : "false") +
         ",\"reachable\":" + (reachable ? "true" : "false") + "}}";
}

const std::string kBobHere = presence("bob", true, true);
const std::string kBobElsewhere = presence("bob", false, true);
const std::string kBobNowhere = presence("bob", false, false);

class ReachabilityTest : public testing::Test {
 protected:
  std::unique_ptr<FakeChat> chat(std::string_view user, std::string_view group = "alice_bob",
                                 Protocol protocol = kV1) {
    return std::make_unique<FakeChat>(relay.router, protocol, group, user);
  }
  std::unique_ptr<FakePush> push(std::string_view user) {
    return std::make_unique<FakePush>(relay.router, kV1, user);
  }

  /// Chat sockets of the users a1, a2, … to bob, who is in none of the groups.
  std::vector<std::unique_ptr<FakeChat>> askers(int count) {
    std::vector<std::unique_ptr<FakeChat>> sockets;
    for (int i = 1; i <= count; ++i) {
      const auto user = "a" + std::to_string(i);
      sockets.push_back(chat(user, user + "_bob"));
      sockets.back()->all();
    }
    return sockets;
  }
  static int told(const std::vector<std::unique_ptr<FakeChat>>& sockets) {
    int count = 0;
    for (const auto& socket : sockets) count += socket->texts.empty() ? 0 : 1;
    return count;
  }

  LocalRelay relay;
};

TEST_F(ReachabilityTest, AnOpeningSocketGetsTheState) {
  auto bob = push("bob");
  auto alice = chat("alice");
  EXPECT_THAT(alice->all(), ElementsAre(kBobElsewhere));
  EXPECT_THAT(chat("carol", "bob_carol")->all(), ElementsAre(kBobElsewhere));
  EXPECT_THAT(chat("carol", "carol_dave")->all(), ElementsAre(presence("dave", false, false)));
  relay.work();
  EXPECT_THAT(alice->all(), IsEmpty());
}

TEST_F(ReachabilityTest, TheFirstPushSocketIsAnnouncedAtOnceAndTheLastAfterTheGrace) {
  auto alice = chat("alice");
  EXPECT_THAT(alice->all(), ElementsAre(kBobNowhere));
  auto phone = push("bob");
  relay.work();
  EXPECT_THAT(alice->all(), ElementsAre(kBobElsewhere));
  auto desk = push("bob");
  phone.reset();
  relay.work_after(kGraceMs);
  EXPECT_THAT(alice->all(), IsEmpty());
  desk.reset();
  relay.work_after(kGraceMs - 1);
  EXPECT_THAT(alice->all(), IsEmpty());
  relay.work_after(1);
  EXPECT_THAT(alice->all(), ElementsAre(kBobNowhere));
  EXPECT_FALSE(relay.scheduler.due_ms) << "nothing is left to do";
}

TEST_F(ReachabilityTest, AReloadIsNotAnnounced) {
  auto alice = chat("alice");
  auto bob = push("bob");
  relay.work();
  alice->all();
  for (int i = 0; i < 3; ++i) {
    bob.reset();
    relay.work_after(kGraceMs - 1);
    bob = push("bob");
    relay.work();
  }
  relay.work_after(kGraceMs);
  EXPECT_THAT(alice->all(), IsEmpty());
  // The grace begins with the last close, not with the first.
  bob.reset();
  relay.work_after(kGraceMs - 1);
  bob = push("bob");
  bob.reset();
  relay.work_after(kGraceMs - 1);
  EXPECT_THAT(alice->all(), IsEmpty());
  relay.work_after(1);
  EXPECT_THAT(alice->all(), ElementsAre(kBobNowhere));
}

TEST_F(ReachabilityTest, PresentImpliesReachable) {
  auto alice = chat("alice");
  alice->all();
  auto bob = chat("bob");
  EXPECT_THAT(alice->all(), ElementsAre(kBobHere));
  auto phone = push("bob");
  relay.work();
  EXPECT_THAT(alice->all(), IsEmpty()) << "it changes nothing that alice knows";
  bob.reset();
  EXPECT_THAT(alice->all(), ElementsAre(kBobElsewhere));
  bob = chat("bob");
  phone.reset();
  relay.work_after(kGraceMs);
  EXPECT_THAT(alice->all(), ElementsAre(kBobHere));
  bob.reset();
  EXPECT_THAT(alice->all(), ElementsAre(kBobNowhere));
}

TEST_F(ReachabilityTest, AnAnonymousSocketCountsLikeForPresence) {
  auto alice = chat("alice");
  alice->all();
  auto guest = chat("", "alice_bob", kPlain);
  EXPECT_THAT(alice->all(), ElementsAre(kBobHere));
  guest.reset();
  EXPECT_THAT(alice->all(), ElementsAre(kBobNowhere));
}

TEST_F(ReachabilityTest, AChatSocketInAnotherGroupDoesNotCount) {
  auto alice = chat("alice");
  alice->all();
  auto bob = chat("bob", "bob_carol");
  relay.work();
  EXPECT_THAT(alice->all(), IsEmpty());
}

TEST_F(ReachabilityTest, OnlyTheV1SocketsOfTheOtherUserAreTold) {
  auto alice = chat("alice", "alice_bob", kPlain);
  auto bob = chat("bob");
  bob->all();
  auto phone = push("bob");
  auto carol = chat("carol", "carol_dave");
  carol->all();
  relay.work();
  phone.reset();
  relay.work_after(kGraceMs);
  EXPECT_THAT(alice->all(), IsEmpty());
  EXPECT_THAT(bob->all(), IsEmpty());
  EXPECT_THAT(carol->all(), IsEmpty());
}

TEST_F(ReachabilityTest, ItCanBeHidden) {
  relay.fanout.set_show_reachable(false);
  auto alice = chat("alice");
  auto phone = push("bob");
  relay.work();
  auto bob = chat("bob");
  EXPECT_THAT(alice->all(), ElementsAre(R"({"presence":{"user":"bob","present":false}})",
                                        R"({"presence":{"user":"bob","present":true}})"));
  relay.fanout.set_show_reachable(true);
  bob.reset();
  EXPECT_THAT(alice->all(), ElementsAre(kBobElsewhere));
}

TEST_F(ReachabilityTest, ManyGroupsAreToldInSteps) {
  auto sockets = askers(1000);
  auto bob = push("bob");
  auto& due = relay.scheduler;
  int before = 0;
  int rounds = 0;
  for (; due.take_due(); ++rounds) {
    relay.reachability.run();
    EXPECT_LE(told(sockets) - before, static_cast<int>(Reachability::kStepsPerRun));
    before = told(sockets);
  }
  EXPECT_EQ(rounds, 4);
  for (const auto& socket : sockets) EXPECT_THAT(socket->all(), ElementsAre(kBobElsewhere));
}

TEST_F(ReachabilityTest, ASendCountsNotAGroup) {
  std::vector<std::vector<std::unique_ptr<FakeChat>>> tabs;
  for (int i = 0; i < 4; ++i) tabs.push_back(askers(100));
  auto bob = push("bob");
  ASSERT_TRUE(relay.scheduler.take_due());
  relay.reachability.run();
  EXPECT_EQ(told(tabs[0]) + told(tabs[1]) + told(tabs[2]) + told(tabs[3]),
            static_cast<int>(Reachability::kStepsPerRun));
  relay.work();
  for (const auto& sockets : tabs) EXPECT_EQ(told(sockets), 100);
}

TEST_F(ReachabilityTest, OneGroupWithMoreSocketsIsToldInOneStep) {
  std::vector<std::unique_ptr<FakeChat>> tabs;
  for (int i = 0; i < 300; ++i) {
    tabs.push_back(chat("alice"));
    tabs.back()->all();
  }
  auto bob = push("bob");
  relay.work();
  EXPECT_EQ(told(tabs), 300);
}

TEST_F(ReachabilityTest, OnlyTheLatestStateIsSent) {
  auto sockets = askers(1000);
  auto bob = push("bob");
  ASSERT_TRUE(relay.scheduler.take_due());
  relay.reachability.run();
  const auto early = told(sockets);
  ASSERT_LT(early, 1000);
  // The grace ends before the other groups are told.
  bob.reset();
  relay.work_after(kGraceMs);
  int with_both = 0;
  for (const auto& socket : sockets) {
    const auto texts = socket->all();
    if (texts.empty()) continue;
    EXPECT_THAT(texts, ElementsAre(kBobElsewhere, kBobNowhere));
    ++with_both;
  }
  EXPECT_EQ(with_both, early);
}

TEST_F(ReachabilityTest, UsersTakeTurns) {
  auto sockets = askers(1000);
  auto carol = chat("carol", "carol_dave");
  carol->all();
  auto bob = push("bob");
  auto dave = push("dave");
  ASSERT_TRUE(relay.scheduler.take_due());
  relay.reachability.run();
  ASSERT_TRUE(relay.scheduler.take_due());
  relay.reachability.run();
  EXPECT_THAT(carol->all(), ElementsAre(presence("dave", false, true)));
  EXPECT_LT(told(sockets), 1000);
}

TEST_F(ReachabilityTest, GroupsThatGoMeanwhileMissNobody) {
  for (const std::size_t gone : {0U, 1U, 500U, 743U, 744U, 999U}) {
    auto sockets = askers(1000);
    auto bob = push("bob");
    ASSERT_TRUE(relay.scheduler.take_due());
    relay.reachability.run();
    // Another group takes its place in the user's list.
    sockets.erase(sockets.begin() + static_cast<std::ptrdiff_t>(gone));
    relay.work();
    EXPECT_EQ(told(sockets), 999) << gone;
    for (const auto& socket : sockets) EXPECT_THAT(socket->all(), ElementsAre(kBobElsewhere));
    sockets.clear();
    bob.reset();
    relay.work_after(kGraceMs);
  }
}

TEST_F(ReachabilityTest, AGroupThatComesMeanwhileGetsTheLatestState) {
  auto sockets = askers(1000);
  auto bob = push("bob");
  ASSERT_TRUE(relay.scheduler.take_due());
  relay.reachability.run();
  auto carol = chat("carol", "bob_carol");
  EXPECT_THAT(carol->all(), ElementsAre(kBobElsewhere));
  // In a group that waits for the announcement, the new socket has the state too.
  auto tab = chat("a1", "a1_bob");
  EXPECT_THAT(tab->all(), ElementsAre(kBobElsewhere));
  relay.work();
  EXPECT_THAT(carol->all(), IsEmpty());
  EXPECT_THAT(tab->all(), IsEmpty());
  for (const auto& socket : sockets) EXPECT_THAT(socket->all(), ElementsAre(kBobElsewhere));
}

TEST_F(ReachabilityTest, AUserWhoIsGoneIsForgottenAfterTheGrace) {
  {
    auto alice = chat("alice");
    push("bob");
  }
  EXPECT_NE(relay.directory.find_user("bob"), nullptr);
  relay.work_after(kGraceMs);
  EXPECT_EQ(relay.directory.find_user("bob"), nullptr);
  EXPECT_EQ(relay.directory.find_user("alice"), nullptr);

  { push("carol"); }
  EXPECT_EQ(relay.directory.find_user("carol"), nullptr) << "nobody has to be told";
  EXPECT_FALSE(relay.scheduler.due_ms);
}

TEST_F(ReachabilityTest, TheGraceEndsWithTheLastWhoWouldBeTold) {
  auto bob = push("bob");
  auto alice = chat("alice");
  bob.reset();
  alice.reset();
  alice = chat("alice");
  EXPECT_THAT(alice->all(), ElementsAre(kBobNowhere));
  relay.work_after(kGraceMs);
  EXPECT_THAT(alice->all(), IsEmpty());
}

TEST_F(ReachabilityTest, ABackplaneMaySayThatAPushSocketIsElsewhere) {
  auto alice = chat("alice");
  alice->all();
  auto& bob = *relay.directory.find_user("bob");
  relay.reachability.set_has_push(bob, true);
  relay.work();
  EXPECT_THAT(alice->all(), ElementsAre(kBobElsewhere));
  relay.reachability.set_has_push(bob, false);
  relay.work_after(kGraceMs);
  EXPECT_THAT(alice->all(), ElementsAre(kBobNowhere));
}

}  // namespace
}  // namespace waystation::test
