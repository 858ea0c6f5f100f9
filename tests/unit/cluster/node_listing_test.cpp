#include "cluster/node_listing.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "cluster/cluster_stats.hpp"

namespace waystation::test {
namespace {

std::string texts(const NodeList& list) {
  std::string text;
  for (const auto& node : list.nodes) {
    text += node.name + " " + node.incarnation + (node.is_ready ? " ready" : "") +
            (node.is_own ? " own" : "") + " " + std::to_string(node.silent_ms) + "\n";
  }
  return text;
}

TEST(NodeListing, ANodeIsReadyIfItIsReadyOnEveryEngine) {
  std::optional<NodeList> list;
  {
    NodeListing listing("a", [&](NodeList found) { list = std::move(found); });
    const std::vector<TableEntry> first{{"b", "0123456789", true, 5}, {"a", "abcdefghij", true, 1}};
    const std::vector<TableEntry> second{{"a", "klmnopqrst", true, 3}, {"b", "", false, 2}};
    listing.add(&first);
    listing.add(&second);
    EXPECT_FALSE(list) << "an engine may answer yet";
  }
  ASSERT_TRUE(list);
  EXPECT_EQ(texts(*list), "a abcdefgh ready own 3\nb 01234567 5\n");
  EXPECT_FALSE(list->is_partial);
}

TEST(NodeListing, SaysIfAnEngineDidNotAnswer) {
  std::optional<NodeList> list;
  const auto answer = [&](NodeList found) { list = std::move(found); };
  {
    NodeListing listing("a", answer);
    const std::vector<TableEntry> only{{"b", "0123456789", true, 5}};
    listing.add(&only);
    listing.add(nullptr);
  }
  EXPECT_EQ(texts(*list), "b 01234567 ready 5\n");
  EXPECT_TRUE(list->is_partial);
  {
    NodeListing listing("a", answer);
    listing.add(nullptr);
  }
  EXPECT_EQ(texts(*list), "a  own 0\n") << "a node knows itself";
  EXPECT_TRUE(list->is_partial);
}

TEST(ClusterStats, RoundTripsAreCountedInBuckets) {
  ClusterStats stats;
  for (const auto us : {0, 100, 101, 1'000'000, 1'000'001}) count_round_trip(stats, us);
  EXPECT_EQ(stats.round_trips[0], 2U);
  EXPECT_EQ(stats.round_trips[1], 1U);
  EXPECT_EQ(stats.round_trips[kRoundTripBuckets.size() - 1], 1U);
  EXPECT_EQ(stats.round_trips[kRoundTripBuckets.size()], 1U);
  EXPECT_EQ(stats.round_trip_us_total, 2'000'202U);
  EXPECT_EQ(stats.round_trip_us, 1'000'001U);
}

}  // namespace
}  // namespace waystation::test
