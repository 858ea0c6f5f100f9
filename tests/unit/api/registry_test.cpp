#include "api/registry.hpp"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "api/relay.hpp"

namespace waystation::test {
namespace {

std::shared_ptr<Relay> make(std::uint32_t id) {
  waystation_options options;
  waystation_options_init(&options, sizeof options);
  return std::make_shared<Relay>(id, options);
}

TEST(Registry, FindsEntriesUntilTheyAreRemoved) {
  const auto id = registry::next_id();
  EXPECT_NE(id, 0U);
  EXPECT_EQ(registry::find(id), nullptr);
  const auto relay = make(id);
  registry::insert(id, relay);
  EXPECT_EQ(registry::find(id), relay);
  EXPECT_EQ(registry::remove(id), relay);
  EXPECT_EQ(registry::find(id), nullptr);
  EXPECT_EQ(registry::remove(id), nullptr);
  EXPECT_EQ(registry::find(0), nullptr);
}

TEST(Registry, NeverReusesANumber) {
  std::vector<std::vector<std::uint32_t>> got(4);
  std::vector<std::thread> threads;
  for (auto& ids : got) {
    threads.emplace_back([&ids] {
      for (int i = 0; i < 1000; ++i) ids.push_back(registry::next_id());
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::uint32_t> all;
  for (const auto& ids : got) all.insert(ids.begin(), ids.end());
  EXPECT_EQ(all.size(), 4000U);
  EXPECT_EQ(all.count(0), 0U);
}

TEST(Registry, LookupKeepsTheEntryAlive) {
  const auto id = registry::next_id();
  registry::insert(id, make(id));
  const auto found = registry::find(id);
  registry::remove(id)->stop();
  EXPECT_EQ(found->id(), id);
  const Relay::Use use(*found);
  EXPECT_FALSE(use);
}

}  // namespace
}  // namespace waystation::test
