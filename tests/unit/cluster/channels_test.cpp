#include "cluster/channels.hpp"

#include <gtest/gtest.h>

#include <string>

namespace waystation::test {
namespace {

using Kind = ChannelNames::Channel::Kind;

TEST(ChannelNames, HaveRoomForTheLongest) {
  const std::string cluster(64, 'c'), user(64, 'u'), group = user + '_' + user;
  const ChannelNames names(cluster);
  EXPECT_EQ(std::string_view(names.chat(group, Side::hi)),
            "ws1:" + cluster + ":c:" + group + ":hi");
  EXPECT_EQ(std::string_view(names.reachable(user)), "ws1:" + cluster + ":r:" + user);
}

TEST(ChannelNames, AreReadAsTheyAreWritten) {
  const ChannelNames names("main");
  const auto incarnation = Incarnation::random();
  EXPECT_EQ(std::string_view(names.chat("a_b", Side::lo)), "ws1:main:c:a_b:lo");
  EXPECT_EQ(names.nodes_key(), "ws1:main:nodes");

  const auto hi_name = names.chat("a_b", Side::hi);
  const auto hi = names.parse(hi_name);
  ASSERT_TRUE(hi);
  EXPECT_EQ(hi->kind, Kind::chat);
  EXPECT_EQ(hi->name, "a_b");
  EXPECT_EQ(hi->side, Side::hi);
  EXPECT_FALSE(hi->is_bit);
  EXPECT_EQ(names.parse(names.chat("a_b", Side::lo))->side, Side::lo);

  const auto bit_name = ChannelNames::bit(names.chat("a_b", Side::hi), 16);
  const auto bit = names.parse(bit_name);
  ASSERT_TRUE(bit);
  EXPECT_EQ(bit->kind, Kind::chat);
  EXPECT_EQ(bit->name, "a_b");
  EXPECT_TRUE(bit->is_bit);

  const auto push = names.push("bob");
  EXPECT_EQ(names.parse(push)->kind, Kind::push);
  EXPECT_EQ(names.parse(push)->name, "bob");
  const auto reachable = names.reachable("bob");
  EXPECT_EQ(names.parse(reachable)->kind, Kind::reachable);
  const auto inbox = names.inbox(incarnation);
  EXPECT_EQ(names.parse(inbox)->kind, Kind::inbox);
  EXPECT_EQ(names.parse(inbox)->name, incarnation.hex());
  EXPECT_EQ(names.parse(names.all())->kind, Kind::all);
}

TEST(ChannelNames, OthersAreNotTaken) {
  const ChannelNames names("main");
  for (const auto* text : {"", "ws1:main", "ws1:main:", "ws1:other:all", "ws1:main:x:a",
                           "ws1:main:c:a_b", "ws1:main:c:a_b:mid", "all"}) {
    EXPECT_FALSE(names.parse(text)) << text;
  }
}

TEST(ChannelNames, BitsCountSockets) {
  constexpr auto kHigh = 1U << 16U;     // a bit from 4 on is set
  constexpr auto kSeveral = 1U << 17U;  // any bit is set
  EXPECT_EQ(ChannelNames::socket_bits(0), 0U);
  EXPECT_EQ(ChannelNames::socket_bits(1), 0U);
  EXPECT_EQ(ChannelNames::socket_bits(2), 1U | kSeveral);
  EXPECT_EQ(ChannelNames::socket_bits(16), 15U | kSeveral);
  EXPECT_EQ(ChannelNames::socket_bits(17), 16U | kHigh | kSeveral);
  EXPECT_EQ(ChannelNames::socket_bits(65536), 0xFFFFU | kHigh | kSeveral);
  EXPECT_EQ(ChannelNames::socket_bits(1'000'000), 0xFFFFU | kHigh | kSeveral) << "the most";
}

}  // namespace
}  // namespace waystation::test
