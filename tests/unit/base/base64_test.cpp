#include "base/base64.hpp"

#include <gtest/gtest.h>

namespace waystation::test {
namespace {

TEST(Base64, DecodesBothAlphabetsWithAndWithoutPadding) {
  EXPECT_EQ(decode_base64(""), "");
  EXPECT_EQ(decode_base64("Zg=="), "f");
  EXPECT_EQ(decode_base64("Zg"), "f");
  EXPECT_EQ(decode_base64("Zm8="), "fo");
  EXPECT_EQ(decode_base64("Zm8"), "fo");
  EXPECT_EQ(decode_base64("Zm9vYmFy"), "foobar");
  EXPECT_EQ(decode_base64("+/+/"), decode_base64("-_-_"));
  EXPECT_EQ(decode_base64("+/+/"), "\xFB\xFF\xBF");
  EXPECT_EQ(decode_base64("AAA="), std::string(2, '\0'));
}

TEST(Base64, RefusesEverythingElse) {
  for (const char* text : {"Z", "A", "Zg=", "Zg===", "=", "====", "Zm9v=", "Zm9vY", "Zm 9",
                           "Zm9v\n", "Zg==Zg==", "Zh==", "Zm9=", "+_+_", "Zm9\x80"}) {
    EXPECT_FALSE(decode_base64(text)) << text;
  }
  EXPECT_FALSE(decode_base64(std::string_view("Zm\0v", 4)));
}

}  // namespace
}  // namespace waystation::test
