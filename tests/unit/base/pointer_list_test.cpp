#include "base/pointer_list.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace waystation::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(PointerList, TheFirstNeedNoMemory) {
  PointerList<int, 2> list;
  EXPECT_THAT(list, IsEmpty());
  EXPECT_EQ(list.capacity(), 2U);
  std::array<int, 2> values{};
  for (auto& value : values) list.add(value);
  EXPECT_THAT(list, ElementsAre(&values[0], &values[1]));
  EXPECT_EQ(list[1], &values[1]);
  list.reserve(2);
  EXPECT_EQ(list.capacity(), 2U);
}

TEST(PointerList, ReservedPlacesAreThere) {
  PointerList<int, 1> list;
  std::array<int, 100> values{};
  list.reserve(1);
  list.add(values[0]);
  for (std::size_t i = 1; i < values.size(); ++i) {
    list.reserve(i + 1);
    ASSERT_GE(list.capacity(), i + 1);
    list.add(values[i]);
  }
  ASSERT_EQ(list.size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(list[i], &values[i]);
}

TEST(PointerList, TheLastTakesThePlaceOfOneThatIsRemoved) {
  PointerList<int, 1> list;
  std::array<int, 3> values{};
  list.reserve(values.size());
  for (auto& value : values) list.add(value);
  list.remove(values[0]);
  EXPECT_THAT(list, ElementsAre(&values[2], &values[1]));
  list.remove(values[1]);
  list.remove(values[2]);
  EXPECT_TRUE(list.empty());
  list.add(values[1]);
  EXPECT_THAT(list, ElementsAre(&values[1]));
}

}  // namespace
}  // namespace waystation::test
