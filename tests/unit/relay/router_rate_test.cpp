// The rate limit applies to a user, not to a socket, and outlives the last of their sockets.
#include <gtest/gtest.h>

#include <memory>

#include "unit/relay/fake_members.hpp"

namespace waystation::test {
namespace {

class RouterRate : public testing::Test {
 protected:
  static constexpr RateLimit kLimit{10, 20};

  static Now at(std::int64_t ms) { return {1'700'000'000'000 + ms, 1'000'000 + ms}; }

  /// Connects, sends until a message is refused, at most `tries`, and disconnects. Returns how many
  /// were accepted.
  int connect_and_send(std::int64_t ms, int tries = 100) {
    FakeChat chat(relay_.router, Protocol::v1, "alice_bob", "alice");
    int accepted = 0;
    for (; accepted < tries; ++accepted) {
      chat.say(R"({"message":1})", at(ms));
      if (chat.all().back().find("rate_limited") != std::string::npos) break;
    }
    return accepted;
  }

  bool exists(std::string_view user) { return relay_.directory.find_user(user) != nullptr; }

  LocalRelay relay_{kLimit};
};

TEST_F(RouterRate, AUserWhoReconnectsGetsNoNewBurst) {
  EXPECT_EQ(connect_and_send(0), 20);
  EXPECT_EQ(connect_and_send(0), 0);
  EXPECT_EQ(connect_and_send(500), 5);
  relay_.directory.evict_idle(at(600));
  EXPECT_EQ(connect_and_send(700), 2);
}

TEST_F(RouterRate, ThrottlesForEachRefusedText) {
  FakeChat chat(relay_.router, Protocol::plain, "alice_bob", "alice");
  for (int i = 0; i < 20; ++i) chat.say(R"({"message":1})", at(0));
  EXPECT_EQ(chat.throttled_us, 0);
  for (int i = 0; i < 3; ++i) chat.say("no JSON, which makes no difference", at(0));
  EXPECT_GE(chat.throttled_us, 300);
  EXPECT_LT(chat.throttled_us, 400);
}

TEST_F(RouterRate, PushSocketsShareTheUsersLimit) {
  EXPECT_EQ(connect_and_send(0), 20);
  FakePush push(relay_.router, Protocol::v1, "alice");
  push.say(R"({"token":"x"})", at(0));
  EXPECT_TRUE(push.tokens.empty());
  EXPECT_GE(push.throttled_us, 100);
  EXPECT_NE(push.next().find("rate_limited"), std::string::npos);
}

TEST_F(RouterRate, ThrottlesLongerForLongTextsUpToOneSecond) {
  FakeChat chat(relay_.router, Protocol::plain, "alice_bob", "alice");
  for (int i = 0; i < 20; ++i) chat.say(R"({"message":1})", at(0));
  chat.say(std::string(100'000, ' '), at(0));
  EXPECT_EQ(chat.throttled_us, 10'100);
  chat.say(std::string(20'000'000, ' '), at(0));
  EXPECT_EQ(chat.throttled_us, 1'010'100);
}

TEST_F(RouterRate, ThrottlesAPlainPushSocketForEveryText) {
  FakePush push(relay_.router, Protocol::plain, "alice");
  push.say("nobody", at(0));
  push.say("cares", at(0));
  EXPECT_EQ(push.throttled_us, 200);
}

TEST_F(RouterRate, OtherUsersAreNotLimited) {
  EXPECT_EQ(connect_and_send(0), 20);
  FakeChat bob(relay_.router, Protocol::plain, "alice_bob", "bob");
  bob.say(R"({"message":1})", at(0));
  EXPECT_EQ(relay_.recorder.entries.back().from, "bob");
}

TEST_F(RouterRate, AUserWhoSentNothingIsDestroyedAtOnce) {
  {
    FakeChat chat(relay_.router, Protocol::v1, "alice_bob", "alice");
    FakePush push(relay_.router, Protocol::plain, "carol");
    for (const auto* user : {"alice", "bob", "carol"}) EXPECT_TRUE(exists(user));
  }
  for (const auto* user : {"alice", "bob", "carol"}) EXPECT_FALSE(exists(user));
}

TEST_F(RouterRate, AnIdleUserIsDestroyedWhenTheBucketIsFull) {
  connect_and_send(0);
  EXPECT_TRUE(exists("alice"));
  relay_.directory.evict_idle(at(1999));
  EXPECT_TRUE(exists("alice"));
  relay_.directory.evict_idle(at(2000));
  EXPECT_FALSE(exists("alice"));
  EXPECT_EQ(connect_and_send(2000), 20);
}

TEST_F(RouterRate, AUserWhoReconnectedIsNotDestroyed) {
  connect_and_send(0);
  FakeChat chat(relay_.router, Protocol::v1, "alice_bob", "alice");
  relay_.directory.evict_idle(at(10'000));
  EXPECT_TRUE(exists("alice"));
  EXPECT_EQ(relay_.presence("alice").groups.size(), 1U);
}

TEST_F(RouterRate, AUserWhoSentMoreStaysIdleLonger) {
  EXPECT_EQ(connect_and_send(0), 20);
  EXPECT_EQ(connect_and_send(1900), 19);
  relay_.directory.evict_idle(at(2000));
  EXPECT_TRUE(exists("alice"));
  EXPECT_EQ(connect_and_send(2000), 1);
  relay_.directory.evict_idle(at(3999));
  EXPECT_TRUE(exists("alice"));
  relay_.directory.evict_idle(at(4000));
  EXPECT_FALSE(exists("alice"));
}

TEST_F(RouterRate, ManyUsersWhoComeAndGoLeaveNothing) {
  for (int i = 0; i < 1000; ++i) {
    const auto user = "u" + std::to_string(i);
    FakeChat chat(relay_.router, Protocol::plain, user + "_zz", user);
    chat.say(R"({"message":1})", at(i));
    relay_.directory.evict_idle(at(i));
    // A bucket takes 100 ms to refill after one message.
    for (int gone = 0; gone <= i - 100; ++gone) ASSERT_FALSE(exists("u" + std::to_string(gone)));
  }
  relay_.directory.evict_idle(at(1100));
  for (int i = 0; i < 1000; ++i) ASSERT_FALSE(exists("u" + std::to_string(i)));
  EXPECT_FALSE(exists("zz"));
}

TEST_F(RouterRate, AnIdleUserIsNotPresent) {
  connect_and_send(0);
  EXPECT_EQ(relay_.presence("alice").push_sockets, 0U);
  EXPECT_TRUE(relay_.presence("alice").groups.empty());
  EXPECT_EQ(relay_.end_sessions("alice"), 0U);
  EXPECT_EQ(relay_.notify("alice", "1", at(0)), 0U);
  EXPECT_EQ(relay_.directory.group_count(), 0U);
}

TEST_F(RouterRate, WithoutALimitThereAreNoIdleUsers) {
  relay_.directory.set_rate_limit({0, 0});
  EXPECT_EQ(connect_and_send(0), 100);
  EXPECT_FALSE(exists("alice"));
  relay_.directory.set_rate_limit(kLimit);
  EXPECT_EQ(connect_and_send(0), 20);
  relay_.directory.set_rate_limit({0, 0});
  relay_.directory.evict_idle(at(10'000));
  EXPECT_FALSE(exists("alice"));
}

}  // namespace
}  // namespace waystation::test
