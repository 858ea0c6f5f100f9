#include "base/result.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace waystation::test {
namespace {

Result<std::unique_ptr<int>> half_of(int number) {
  if (number % 2 != 0) return Error{"number", "number = odd: no half"};
  return std::make_unique<int>(number / 2);
}

Result<void> even(int number) {
  if (number % 2 != 0) return Error{"number", "odd"};
  return {};
}

/// A literal converts to the error.
Result<int, std::string> clause(const char* text) {
  return text;
}

TEST(Result, IsFilledInPlace) {
  Result<std::string> result;
  ASSERT_TRUE(result);
  *result = "filled";
  EXPECT_EQ(*result, "filled");
}

TEST(Result, HoldsAValueThatCanBeMovedOut) {
  auto result = half_of(8);
  ASSERT_TRUE(result);
  EXPECT_EQ(**result, 4);
  const std::unique_ptr<int> moved = std::move(*result);
  EXPECT_EQ(*moved, 4);
}

TEST(Result, HoldsAnError) {
  const auto result = half_of(7);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), (Error{"number", "number = odd: no half"}));
}

TEST(Result, NeedsNoValue) {
  EXPECT_TRUE(even(2));
  ASSERT_FALSE(even(3));
  EXPECT_EQ(even(3).error().message, "odd");
}

TEST(Result, TakesAnErrorOfAnyType) {
  const Result<int, std::string> good = 7;
  const Result<int, std::string> bad = std::string("no");
  EXPECT_EQ(*good, 7);
  EXPECT_EQ(bad.error(), "no");
  EXPECT_EQ(clause("a literal").error(), "a literal");
}

}  // namespace
}  // namespace waystation::test
