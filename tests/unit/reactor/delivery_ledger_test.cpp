#include "reactor/delivery_ledger.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace waystation {
namespace {

Message message(std::string_view id, std::string_view group = "alice_bob",
                std::string_view to = "bob") {
  return {"\"hello\"", group, "", to, id, 1234};
}

std::vector<std::string> lost_beyond(DeliveryLedger& ledger, std::uint64_t offset) {
  std::vector<std::string> ids;
  ledger.lose_beyond(offset, [&](const DeliveryLedger::Entry& entry) { ids.push_back(entry.id); });
  return ids;
}

TEST(DeliveryLedger, IsEmptyAtFirst) {
  DeliveryLedger ledger;
  EXPECT_EQ(ledger.size(), 0U);
  ledger.acknowledge(100);
  EXPECT_TRUE(lost_beyond(ledger, 0).empty());
}

TEST(DeliveryLedger, ForgetsWhatArrivedToItsLastByte) {
  DeliveryLedger ledger;
  ledger.add(10, message("a"), false);
  ledger.add(20, message("b"), false);
  ledger.acknowledge(9);
  EXPECT_EQ(ledger.size(), 2U);
  ledger.acknowledge(10);
  EXPECT_EQ(ledger.size(), 1U);
  ledger.acknowledge(19);
  EXPECT_EQ(ledger.size(), 1U);
  ledger.acknowledge(20);
  EXPECT_EQ(ledger.size(), 0U);
}

TEST(DeliveryLedger, GivesOutWhatIsLostOldestFirstAndOnce) {
  DeliveryLedger ledger;
  for (const std::uint64_t end : {10U, 20U, 30U, 40U}) {
    ledger.add(end, message(std::to_string(end)), false);
  }
  EXPECT_EQ(lost_beyond(ledger, 20), (std::vector<std::string>{"30", "40"}));
  EXPECT_TRUE(lost_beyond(ledger, 20).empty());
  EXPECT_EQ(lost_beyond(ledger, 15), std::vector<std::string>{"20"});
  EXPECT_EQ(lost_beyond(ledger, 0), std::vector<std::string>{"10"});
  EXPECT_EQ(ledger.size(), 0U);
}

TEST(DeliveryLedger, AMessageOfWhichAByteIsMissingIsLost) {
  DeliveryLedger ledger;
  ledger.add(10, message("a"), false);
  EXPECT_TRUE(lost_beyond(ledger, 10).empty());
  EXPECT_EQ(lost_beyond(ledger, 9), std::vector<std::string>{"a"});
}

TEST(DeliveryLedger, KnowsOfEachWhoseItWasAndHowLarge) {
  DeliveryLedger ledger;
  ledger.add(1, message("id", "alice_bob", "alice"), false);
  ledger.add(2, message("", "alice_bob", "bob"), true);
  ledger.add(3, message("", "al_alice", "al"), true);
  ledger.add(4, message("", "al_alice", "alice"), true);
  ledger.add(5, message("", "", "bob"), true);
  std::vector<DeliveryLedger::Entry> entries;
  ledger.lose_beyond(0, [&](const DeliveryLedger::Entry& entry) { entries.push_back(entry); });
  ASSERT_EQ(entries.size(), 5U);
  EXPECT_TRUE(entries[0].to_lo);
  EXPECT_EQ(entries[0].group, "");
  EXPECT_EQ(entries[0].id, "id");
  EXPECT_EQ(entries[0].at, 1234);
  EXPECT_EQ(entries[0].bytes, 7U);
  EXPECT_FALSE(entries[1].to_lo);
  EXPECT_EQ(entries[1].group, "alice_bob");
  EXPECT_TRUE(entries[2].to_lo);
  EXPECT_FALSE(entries[3].to_lo);
  EXPECT_EQ(entries[4].group, "");
}

}  // namespace
}  // namespace waystation
