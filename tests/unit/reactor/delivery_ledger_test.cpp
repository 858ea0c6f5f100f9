#include "reactor/delivery_ledger.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace waystation::test {
namespace {

Message message(std::string_view id, std::string_view group = "alice_bob",
                Side to_side = Side::hi) {
  return {"\"hello\"", group, "", "", id, 1234, to_side};
}

std::vector<std::string> lost_beyond(DeliveryLedger& ledger, std::uint64_t offset) {
  std::vector<std::string> ids;
  ledger.lose_beyond(offset,
                     [&](const DeliveryLedger::Entry& entry) { ids.emplace_back(entry.id); });
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

TEST(DeliveryLedger, KeepsTheKeyAndTheCorrectedNumberOfSocketsThatTookIt) {
  DeliveryLedger ledger;
  for (const std::uint64_t key : {std::uint64_t{7}, ~std::uint64_t{0}}) {
    auto taken = message("a");
    taken.key = key;
    taken.taken = 3;
    ledger.add(10 * (key & 0xF), taken, true);
  }
  ledger.set_taken(~std::uint64_t{0}, 2);
  ledger.set_taken(8, 1);
  ledger.set_taken(7, 1);  // not the newest, and so not looked for
  std::vector<std::pair<std::uint64_t, std::uint32_t>> lost;
  ledger.lose_beyond(0, [&](const DeliveryLedger::Entry& e) { lost.emplace_back(e.key, e.taken); });
  EXPECT_EQ(lost, (decltype(lost){{7, 3}, {~std::uint64_t{0}, 2}}));
  ledger.set_taken(7, 1);  // it is empty
}

TEST(DeliveryLedger, AMessageOfWhichAByteIsMissingIsLost) {
  DeliveryLedger ledger;
  ledger.add(10, message("a"), false);
  EXPECT_TRUE(lost_beyond(ledger, 10).empty());
  EXPECT_EQ(lost_beyond(ledger, 9), std::vector<std::string>{"a"});
}

TEST(DeliveryLedger, KeepsTimeSizeGroupIdAndSideOfEachMessage) {
  DeliveryLedger ledger;
  ledger.add(1, message("id", "alice_bob", Side::lo), false);
  ledger.add(2, message("", "alice_bob", Side::hi), true);
  ledger.add(3, message("", "al_alice", Side::lo), true);
  ledger.add(4, message("", ""), true);
  std::vector<std::string> seen;
  ledger.lose_beyond(0, [&](const DeliveryLedger::Entry& entry) {
    seen.push_back(std::to_string(entry.end_offset) + ' ' + std::to_string(entry.at) + ' ' +
                   std::to_string(entry.bytes) + " <" + std::string(entry.group) + "> <" +
                   std::string(entry.id) + "> " + (entry.to_side == Side::lo ? "lo" : "hi"));
  });
  EXPECT_EQ(seen, (std::vector<std::string>{
                      "1 1234 7 <> <id> lo",
                      "2 1234 7 <alice_bob> <> hi",
                      "3 1234 7 <al_alice> <> lo",
                      "4 1234 7 <> <> hi",
                  }));
}

TEST(DeliveryLedger, KeepsNamesOfEveryLengthWhileItGrowsAndMoves) {
  DeliveryLedger ledger;
  const std::string group = std::string(64, 'a') + '_' + std::string(64, 'b');
  std::uint64_t added = 0;
  std::uint64_t arrived = 0;
  const auto id_of = [](std::uint64_t offset) { return std::string(offset % 65, 'i'); };
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < round % 7 + 1; ++i) {
      ++added;
      ledger.add(added, message(id_of(added), group), true);
    }
    arrived += static_cast<std::uint64_t>(round % 5);
    arrived = std::min(arrived, added);
    ledger.acknowledge(arrived);
    ASSERT_EQ(ledger.size(), added - arrived);
  }
  ASSERT_GT(added, arrived);
  ledger.lose_beyond(arrived, [&](const DeliveryLedger::Entry& entry) {
    ++arrived;
    EXPECT_EQ(entry.end_offset, arrived);
    EXPECT_EQ(entry.group, group);
    EXPECT_EQ(entry.id, id_of(arrived));
  });
  EXPECT_EQ(arrived, added);
}

}  // namespace
}  // namespace waystation::test
