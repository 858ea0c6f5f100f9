// How much a user may say is the user's, not the socket's: it outlives the last of their sockets.
#include <gtest/gtest.h>

#include <memory>

#include "unit/relay/fake_members.hpp"

namespace waystation::test {
namespace {

class HubRate : public testing::Test {
 protected:
  static constexpr RateLimit kLimit{10, 20};

  static Now at(std::int64_t ms) { return {1'700'000'000'000 + ms, 1'000'000 + ms}; }

  /// Comes, says as much as is taken, at most `tries`, and leaves. Returns how much that was.
  int visit(std::int64_t ms, int tries = 100) {
    FakeChat chat(hub_, Protocol::v1, "alice_bob", "alice");
    int taken = 0;
    for (; taken < tries; ++taken) {
      chat.say(R"({"message":1})", at(ms));
      if (chat.all().back().find("rate_limited") != std::string::npos) break;
    }
    return taken;
  }

  Recorder recorder_;
  Hub hub_{recorder_, kLimit};
};

TEST_F(HubRate, AUserWhoComesBackHasNoFreshBurst) {
  EXPECT_EQ(visit(0), 20);
  EXPECT_EQ(visit(0), 0);
  EXPECT_EQ(visit(500), 5);
  hub_.forget_rested(at(600));
  EXPECT_EQ(visit(700), 2);
}

TEST_F(HubRate, WhoSaysTooMuchIsThrottledForEachRefusal) {
  FakeChat chat(hub_, Protocol::plain, "alice_bob", "alice");
  for (int i = 0; i < 20; ++i) chat.say(R"({"message":1})", at(0));
  EXPECT_EQ(chat.throttled_us, 0);
  for (int i = 0; i < 3; ++i) chat.say("no JSON, which makes no difference", at(0));
  EXPECT_GE(chat.throttled_us, 300);
  EXPECT_LT(chat.throttled_us, 400);
}

TEST_F(HubRate, PushSocketsDrawFromTheSame) {
  EXPECT_EQ(visit(0), 20);
  FakePush push(hub_, Protocol::v1, "alice");
  push.say(R"({"token":"x"})", at(0));
  EXPECT_TRUE(push.tokens.empty());
  EXPECT_GE(push.throttled_us, 100);
  EXPECT_NE(push.next().find("rate_limited"), std::string::npos);
}

TEST_F(HubRate, WhatIsLongIsThrottledForLongerAndNoLongerThanASecond) {
  FakeChat chat(hub_, Protocol::plain, "alice_bob", "alice");
  for (int i = 0; i < 20; ++i) chat.say(R"({"message":1})", at(0));
  chat.say(std::string(100'000, ' '), at(0));
  EXPECT_EQ(chat.throttled_us, 10'100);
  chat.say(std::string(20'000'000, ' '), at(0));
  EXPECT_EQ(chat.throttled_us, 1'010'100);
}

TEST_F(HubRate, APlainPushSocketIsThrottledForWhatNobodyReads) {
  FakePush push(hub_, Protocol::plain, "alice");
  push.say("nobody", at(0));
  push.say("cares", at(0));
  EXPECT_EQ(push.throttled_us, 200);
}

TEST_F(HubRate, OthersAreNotConcerned) {
  EXPECT_EQ(visit(0), 20);
  FakeChat bob(hub_, Protocol::plain, "alice_bob", "bob");
  bob.say(R"({"message":1})", at(0));
  EXPECT_EQ(recorder_.entries.back().from, "bob");
}

TEST_F(HubRate, WhoSaidNothingIsForgottenAtOnce) {
  {
    FakeChat chat(hub_, Protocol::v1, "alice_bob", "alice");
    FakePush push(hub_, Protocol::plain, "carol");
    EXPECT_EQ(hub_.user_count(), 3U);
  }
  EXPECT_EQ(hub_.user_count(), 0U);
}

TEST_F(HubRate, WhoRestedLongEnoughIsForgotten) {
  visit(0);
  EXPECT_EQ(hub_.user_count(), 1U);
  hub_.forget_rested(at(1999));
  EXPECT_EQ(hub_.user_count(), 1U);
  hub_.forget_rested(at(2000));
  EXPECT_EQ(hub_.user_count(), 0U);
  EXPECT_EQ(visit(2000), 20);
}

TEST_F(HubRate, WhoCameBackIsNotForgotten) {
  visit(0);
  FakeChat chat(hub_, Protocol::v1, "alice_bob", "alice");
  hub_.forget_rested(at(10'000));
  EXPECT_EQ(hub_.user_count(), 2U);
  EXPECT_EQ(hub_.presence("alice").groups.size(), 1U);
}

TEST_F(HubRate, WhoSaidMoreMeanwhileIsRememberedAsMuchLonger) {
  EXPECT_EQ(visit(0), 20);
  EXPECT_EQ(visit(1900), 19);
  hub_.forget_rested(at(2000));
  EXPECT_EQ(hub_.user_count(), 1U);
  EXPECT_EQ(visit(2000), 1);
  hub_.forget_rested(at(3999));
  EXPECT_EQ(hub_.user_count(), 1U);
  hub_.forget_rested(at(4000));
  EXPECT_EQ(hub_.user_count(), 0U);
}

TEST_F(HubRate, ManyWhoComeAndGoLeaveNothingBehind) {
  for (int i = 0; i < 1000; ++i) {
    const auto user = "u" + std::to_string(i);
    FakeChat chat(hub_, Protocol::plain, user + "_zz", user);
    chat.say(R"({"message":1})", at(i));
    hub_.forget_rested(at(i));
    // Each is remembered for the 100 ms that one message takes to be made good, and "zz" is there.
    ASSERT_LE(hub_.user_count(), 103U);
  }
  hub_.forget_rested(at(1100));
  EXPECT_EQ(hub_.user_count(), 0U);
}

TEST_F(HubRate, SomebodyRememberedIsNotThere) {
  visit(0);
  EXPECT_EQ(hub_.presence("alice").push_sockets, 0U);
  EXPECT_TRUE(hub_.presence("alice").groups.empty());
  EXPECT_EQ(hub_.end_sessions("alice"), 0U);
  EXPECT_EQ(hub_.notify("alice", "1", at(0)), 0U);
  EXPECT_EQ(hub_.group_count(), 0U);
}

TEST_F(HubRate, WithoutALimitNobodyIsRemembered) {
  hub_.set_rate_limit({0, 0});
  EXPECT_EQ(visit(0), 100);
  EXPECT_EQ(hub_.user_count(), 0U);
  hub_.set_rate_limit(kLimit);
  EXPECT_EQ(visit(0), 20);
  hub_.set_rate_limit({0, 0});
  hub_.forget_rested(at(10'000));
  EXPECT_EQ(hub_.user_count(), 0U);
}

}  // namespace
}  // namespace waystation::test
