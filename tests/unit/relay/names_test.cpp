#include "relay/names.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace waystation::test {
namespace {

using testing::HasSubstr;

bool is_before(std::string_view a, std::string_view b) {
  return compare_users(a, b) < 0;
}

TEST(Names, AUserIdIs1To64DigitsAndLowerCaseLetters) {
  EXPECT_TRUE(is_user_id("a"));
  EXPECT_TRUE(is_user_id("0"));
  EXPECT_TRUE(is_user_id("0123456789abcdefghijklmnopqrstuvwxyz"));
  EXPECT_TRUE(is_user_id(std::string(64, 'z')));
  EXPECT_FALSE(is_user_id(""));
  EXPECT_FALSE(is_user_id(std::string(65, 'z')));
}

TEST(Names, AUserIdHasNoOtherBytes) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
    EXPECT_EQ(is_user_id(std::string{c}), good) << "byte " << byte;
    EXPECT_EQ(is_user_id(std::string{'a', c}), good) << "byte " << byte;
    EXPECT_EQ(is_user_id(std::string{c, 'a'}), good) << "byte " << byte;
  }
}

TEST(Names, TwoNumbersAreComparedAsNumbers) {
  EXPECT_TRUE(is_before("9", "10"));
  EXPECT_FALSE(is_before("10", "9"));
  EXPECT_TRUE(is_before("195752", "748418"));
  EXPECT_TRUE(is_before("007", "8"));
  EXPECT_TRUE(is_before("0", "1"));
  EXPECT_TRUE(is_before("00", "1"));
}

TEST(Names, NumbersOfAnyLengthAreCompared) {
  const std::string nines(64, '9');
  const std::string one_and_zeros = "1" + std::string(63, '0');
  EXPECT_TRUE(is_before(one_and_zeros, nines));
  EXPECT_TRUE(is_before(std::string(63, '9'), one_and_zeros));
  EXPECT_TRUE(is_before("18446744073709551615", "18446744073709551616"));
}

TEST(Names, EqualNumbersAreComparedByteByByte) {
  EXPECT_TRUE(is_before("07", "7"));
  EXPECT_TRUE(is_before("007", "07"));
  EXPECT_TRUE(is_before("0", "00"));
  EXPECT_TRUE(compare_users("07", "07") == 0);
}

TEST(Names, OtherUserIdsAreComparedByteByByte) {
  EXPECT_TRUE(is_before("alice", "bob"));
  EXPECT_TRUE(is_before("a", "aa"));
  EXPECT_TRUE(is_before("10a", "9a"));
  EXPECT_TRUE(is_before("10", "9a"));
  EXPECT_FALSE(is_before("9", "10a"));
  EXPECT_TRUE(compare_users("bob", "bob") == 0);
}

TEST(Names, ComparingIsATotalOrder) {
  // The order of any three ids is consistent, also with digits and letters mixed.
  const std::vector<std::string> users = {"0", "00", "1",  "01", "7",   "07", "9",  "10",
                                          "a", "1a", "9a", "a1", "010", "z",  "0a", "99"};
  for (const auto& a : users) {
    for (const auto& b : users) {
      EXPECT_EQ(compare_users(a, b) == 0, a == b) << a << ' ' << b;
      EXPECT_EQ(compare_users(a, b) < 0, compare_users(b, a) > 0) << a << ' ' << b;
    }
  }
}

TEST(Names, AGroupIsItsTwoUsersInOrder) {
  for (const auto& [name, lo, hi] :
       std::vector<std::array<std::string, 3>>{{"alice_bob", "alice", "bob"},
                                               {"9_10", "9", "10"},
                                               {"195752_748418", "195752", "748418"},
                                               {"07_7", "07", "7"},
                                               {"10_9a", "10", "9a"},
                                               {std::string(64, 'a') + "_" + std::string(64, 'b'),
                                                std::string(64, 'a'), std::string(64, 'b')}}) {
    const auto users = parse_group(name);
    ASSERT_TRUE(users) << name;
    EXPECT_EQ(users->lo, lo);
    EXPECT_EQ(users->hi, hi);
  }
}

TEST(Names, AMalformedGroupIsRefusedWithTheRule) {
  for (const std::string name :
       {"", "_", "alice", "alice_", "_bob", "alice__bob", "alice_bob_", "_alice_bob",
        "alice_bob_carol", "Alice_bob", "alice_BOB", "alice-bob", "alice_b b", "alice_b\xC3\xA9",
        "alice_bob/", " alice_bob", "alice_bob "}) {
    EXPECT_FALSE(parse_group(name)) << name;
    EXPECT_THAT(group_error(name), HasSubstr("<lo>_<hi>")) << name;
  }
  EXPECT_FALSE(parse_group(std::string("alice_bob\0", 10)));
}

TEST(Names, AGroupWithAUserOf65CharactersIsRefused) {
  EXPECT_FALSE(parse_group("a_" + std::string(65, 'b')));
  EXPECT_THAT(group_error("a_" + std::string(65, 'b')), HasSubstr("64"));
  EXPECT_FALSE(parse_group(std::string(65, 'a') + "_b"));
}

TEST(Names, AReversedGroupIsRefusedWithItsCorrectName) {
  EXPECT_FALSE(parse_group("bob_alice"));
  EXPECT_THAT(group_error("bob_alice"), HasSubstr("alice_bob"));
  EXPECT_FALSE(parse_group("10_9"));
  EXPECT_THAT(group_error("10_9"), HasSubstr("9_10"));
  EXPECT_FALSE(parse_group("7_07"));
  EXPECT_THAT(group_error("7_07"), HasSubstr("07_7"));
}

TEST(Names, AGroupOfOneUserIsRefused) {
  EXPECT_FALSE(parse_group("bob_bob"));
  EXPECT_THAT(group_error("bob_bob"), HasSubstr("bob"));
  EXPECT_FALSE(parse_group("7_7"));
  EXPECT_THAT(group_error("7_7"), HasSubstr("twice"));
}

TEST(Names, TwoUsersHaveExactlyOneGroupName) {
  std::mt19937 random(20240229);
  const auto user = [&] {
    constexpr std::string_view characters = "0123456789az";
    std::string text(1 + random() % 3, ' ');
    for (auto& c : text) c = characters[random() % (random() % 2 == 0 ? 10 : 12)];
    return text;
  };
  for (int i = 0; i < 5000; ++i) {
    const auto a = user();
    const auto b = user();
    const int groups =
        int{parse_group(a + "_" + b).has_value()} + int{parse_group(b + "_" + a).has_value()};
    EXPECT_EQ(groups, a == b ? 0 : 1) << a << ' ' << b;
  }
}

}  // namespace
}  // namespace waystation::test
