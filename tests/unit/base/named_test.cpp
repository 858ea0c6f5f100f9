#include "base/named.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace waystation::test {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

struct Thing final : Named<Thing> {
  Thing() noexcept { ++alive; }
  ~Thing() { --alive; }

  int value = 0;
  Thing* next_in_set = nullptr;

  static inline int alive = 0;
};

using Things = NamedSet<Thing, &Thing::next_in_set>;

std::vector<std::string> names_in(const Things& things) {
  std::vector<std::string> names;
  things.visit_all([&](const Thing& thing) { names.emplace_back(thing.name()); });
  return names;
}

TEST(Named, KeepsItsName) {
  for (const auto& name : {std::string(), std::string("a"), std::string(Thing::kMaxName, 'x')}) {
    const auto thing = Thing::make(name);
    EXPECT_EQ(thing->name(), name);
    EXPECT_EQ(thing->value, 0);
  }
  EXPECT_EQ(Thing::alive, 0);
}

TEST(NamedSet, FindsByName) {
  Things things;
  EXPECT_EQ(things.find("a"), nullptr);
  auto& a = things.insert(Thing::make("a"));
  auto& ab = things.insert(Thing::make("ab"));
  EXPECT_EQ(things.find("a"), &a);
  EXPECT_EQ(things.find("ab"), &ab);
  EXPECT_EQ(things.find("b"), nullptr);
  things.erase(a);
  EXPECT_EQ(things.find("a"), nullptr);
  EXPECT_EQ(things.size(), 1U);
  EXPECT_THAT(names_in(things), ElementsAre("ab"));
}

TEST(NamedSet, GrowsAndKeepsAll) {
  constexpr int kMany = 1000;
  {
    Things things;
    for (int i = 0; i < kMany; ++i) things.insert(Thing::make(std::to_string(i))).value = i;
    EXPECT_EQ(Thing::alive, kMany);
    EXPECT_GE(things.bucket_count(), things.size());
    for (int i = 0; i < kMany; ++i) {
      const auto* const thing = things.find(std::to_string(i));
      ASSERT_NE(thing, nullptr);
      EXPECT_EQ(thing->value, i);
    }
    std::size_t in_buckets = 0;
    for (std::size_t bucket = 0; bucket != things.bucket_count(); ++bucket) {
      things.visit(bucket, [&](const Thing&) { ++in_buckets; });
    }
    EXPECT_EQ(in_buckets, things.size());

    things.erase_if([](const Thing& thing) { return thing.value % 100 != 7; });
    EXPECT_THAT(names_in(things), UnorderedElementsAre("7", "107", "207", "307", "407", "507",
                                                       "607", "707", "807", "907"));
    EXPECT_EQ(Thing::alive, 10);
    EXPECT_EQ(things.find("8"), nullptr);
    things.insert(Thing::make("8"));
    EXPECT_NE(things.find("8"), nullptr);
  }
  EXPECT_EQ(Thing::alive, 0);
}

}  // namespace
}  // namespace waystation::test
