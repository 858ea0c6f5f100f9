#include "base/byte_reader.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string_view>

namespace waystation::test {
namespace {

TEST(ByteReader, ReadsNumbersInNetworkByteOrderAndTexts) {
  constexpr std::string_view kBytes(
      "\x01\x80\x02\xFF\x00\x00\x03"
      "abc",
      10);
  ByteReader in(kBytes);
  EXPECT_EQ(in.u8(), 1U);
  EXPECT_EQ(in.u16(), 0x8002U);
  EXPECT_EQ(in.u32(), 0xFF000003U);
  EXPECT_EQ(in.left(), 3U);
  EXPECT_FALSE(in.is_complete());
  EXPECT_EQ(in.text(3), "abc");
  EXPECT_TRUE(in.is_complete());
  EXPECT_EQ(in.text(0), "");
  EXPECT_TRUE(in.is_complete());
}

TEST(ByteReader, NeverReadsBeyondTheEndAndStaysShort) {
  const std::array<char, 3> bytes{1, 2, 3};
  ByteReader in(bytes);
  EXPECT_EQ(in.u32(), 0U);
  EXPECT_TRUE(in.is_short());
  EXPECT_EQ(in.u8(), 0U) << "although there is a byte";
  EXPECT_EQ(in.text(1), "");
  EXPECT_FALSE(in.is_complete());
  ByteReader text(bytes);
  EXPECT_EQ(text.text(4), "");
  EXPECT_TRUE(text.is_short());
}

}  // namespace
}  // namespace waystation::test
