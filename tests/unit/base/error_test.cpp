#include "base/error.hpp"

#include <gtest/gtest.h>

#include "base/ascii.hpp"

namespace waystation::test {
namespace {

TEST(Error, NamesOptionValueProblemAndWhatIsAllowed) {
  const auto error = option_error("burst", "0", "out of range", "1 to 5");
  EXPECT_EQ(error.option, "burst");
  EXPECT_EQ(error.message, "burst = 0: out of range; allowed: 1 to 5");
  EXPECT_EQ(option_error("burst", "0", "has no effect").message, "burst = 0: has no effect");
}

TEST(Error, KeepsTheOptionThroughAnException) {
  try {
    throw OptionError({"burst", "burst = 0: no"});
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "burst = 0: no");
    EXPECT_EQ(dynamic_cast<const OptionError&>(error).error().option, "burst");
  }
}

TEST(Quotes, MakeATextFitForOneLine) {
  EXPECT_EQ(in_quotes("a b"), "\"a b\"");
  EXPECT_EQ(in_quotes("a\n\"\x7f\xc3\xa9"), "\"a?????\"");
  EXPECT_EQ(in_quotes(std::string(81, 'x')), "\"" + std::string(80, 'x') + "…\"");
}

TEST(Ascii, ChangesLettersOnly) {
  EXPECT_EQ(to_lower(std::string_view("AZaz09-\xc3\x84")), "azaz09-\xc3\x84");
  EXPECT_TRUE(equal_ignoring_case("Content-LENGTH", "content-length"));
  EXPECT_FALSE(equal_ignoring_case("content-length", "content-lengt"));
  EXPECT_FALSE(equal_ignoring_case("k", "\xe2\x84\xaa"));  // the Kelvin sign
}

}  // namespace
}  // namespace waystation::test
