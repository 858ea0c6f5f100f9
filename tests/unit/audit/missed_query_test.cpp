#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "audit/audit_prune.hpp"
#include "audit/audit_reader.hpp"
#include "audit/audit_store.hpp"
#include "audit/migrations.hpp"
#include "unit/audit/audit_files.hpp"

namespace waystation::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::int64_t kStart = 1000;

/// A file that a run of the node "here" writes since kStart.
class MissedQueryTest : public ::testing::Test {
 protected:
  MissedQueryTest() { store_->begin_run(kStart, {}); }

  /// Adds rows in one transaction.
  void write(const std::vector<Delivery>& rows) {
    store_->begin();
    for (const auto& row : rows) store_->insert(row);
    store_->commit();
  }
  void write(const AuditGap& gap) {
    store_->begin();
    store_->insert(gap);
    store_->commit();
  }
  void delete_before(std::int64_t time) {
    store_->begin();
    store_->delete_before(time, 100);
    store_->commit();
  }
  void delete_oldest(std::size_t rows) {
    store_->begin();
    store_->delete_oldest(rows);
    store_->commit();
  }

  /// What bob missed.
  Missed ask(MissedQuestion question, const std::string& node = "here") {
    return AuditReader(file_).missed("bob", node, question, ++now_);
  }
  Missed since(std::int64_t time, const std::string& node = "here") {
    return ask({time, {}}, node);
  }
  Missed after(const std::string& next) { return ask({0, MissedCursor::parse(next)}); }

  Folder folder_;
  const std::string file_ = resolve_audit_path(folder_.file("audit.db"));
  std::unique_ptr<AuditStore> store_ = std::make_unique<AuditStore>(file_, "here", true);
  std::int64_t now_ = 50'000;
};

Delivery nobody(std::int64_t at, std::string_view from, std::string_view id = "",
                std::uint64_t key = 1) {
  Delivery row{Outcome::undelivered, at, from.empty() ? "" : "alice_bob", from, "bob", id, 0, 5};
  row.key = key;
  return row;
}

/// One of `taken` sockets dropped the message.
Delivery dropped(std::int64_t at, std::uint64_t key, std::size_t taken, std::string_view id = "",
                 std::string_view from = "alice") {
  Delivery row{Outcome::dropped, at, "alice_bob", from, "bob", id, 0, 5};
  row.key = key;
  row.taken = taken;
  return row;
}

/// "alice 3 1000..2000" for each sender.
std::vector<std::string> senders(const Missed& missed) {
  std::vector<std::string> result;
  for (const auto& from : missed.from) {
    result.push_back(from.user + " " + std::to_string(from.count) + " " +
                     std::to_string(from.first) + ".." + std::to_string(from.last));
  }
  return result;
}

TEST_F(MissedQueryTest, CountsWhatNobodyTookBySenderTheLatestFirst) {
  write({nobody(2000, "alice", "a"), nobody(3000, "carol", "c"), nobody(4000, "alice", "b"),
         nobody(5000, ""), nobody(6000, "")});
  write({{Outcome::undelivered, 2500, "alice_carol", "alice", "carol", "x", 0, 5}, pushed(2600)});
  const auto missed = since(kStart);
  EXPECT_THAT(senders(missed), ElementsAre("alice 2 2000..4000", "carol 1 3000..3000"));
  EXPECT_EQ(missed.notifications, 2U);
  EXPECT_TRUE(missed.complete);
  EXPECT_THAT(senders(since(3000)), ElementsAre("alice 1 4000..4000", "carol 1 3000..3000"))
      << "the time is inclusive";
  EXPECT_THAT(senders(since(4001)), IsEmpty());
}

TEST_F(MissedQueryTest, CountsOneIdOfOneSenderOnceAndEachMessageWithoutAnId) {
  write({nobody(2000, "alice", "a", 1), nobody(2001, "alice", "a", 2),
         nobody(2002, "carol", "a", 3), nobody(2003, "alice", "", 4), nobody(2003, "alice", "", 5),
         dropped(2004, 6, 1, "a"), dropped(2005, 7, 1), dropped(2006, 8, 2), dropped(2006, 8, 2)});
  EXPECT_THAT(senders(since(kStart)), ElementsAre("alice 5 2000..2006", "carol 1 2002..2002"));
}

TEST_F(MissedQueryTest, ADroppedMessageIsMissedOnceAllSocketsThatTookItDroppedIt) {
  write({dropped(2000, 1, 2, "a"), dropped(3000, 2, 1, "b")});
  EXPECT_THAT(senders(since(kStart)), ElementsAre("alice 1 3000..3000"));
  write({dropped(2000, 1, 2, "a")});
  EXPECT_THAT(senders(since(kStart)), ElementsAre("alice 2 2000..3000"));
}

TEST_F(MissedQueryTest, KeysOfDifferentRunsAreDifferentMessages) {
  write({dropped(2000, 1, 2)});
  store_->end_run(2500);
  store_->begin_run(2600, {});
  write({dropped(2000, 1, 2)});
  EXPECT_THAT(senders(since(kStart)), IsEmpty());
  write({dropped(2000, 1, 2)});
  EXPECT_THAT(senders(since(kStart)), ElementsAre("alice 1 2000..2000"));
}

TEST_F(MissedQueryTest, ACursorGoesByRowAndSeesRowsThatAreWrittenLate) {
  write({nobody(5000, "alice"), dropped(2000, 1, 2, "a")});
  auto missed = since(kStart);
  EXPECT_THAT(senders(missed), ElementsAre("alice 1 5000..5000"));
  missed = after(missed.next);
  EXPECT_THAT(senders(missed), IsEmpty());
  EXPECT_TRUE(missed.complete);
  // The second socket of a message before the answer ends long after it.
  write({dropped(2000, 1, 2, "a")});
  missed = after(missed.next);
  EXPECT_THAT(senders(missed), ElementsAre("alice 1 2000..2000"));
  EXPECT_THAT(senders(after(missed.next)), IsEmpty()) << "and is reported once";
}

TEST_F(MissedQueryTest, ACursorIsNotConfusedByIdsOfDeletedRows) {
  write({nobody(2000, "alice"), nobody(3000, "alice")});
  const auto next = since(kStart).next;
  AuditFilter filter;
  filter.user = "alice";
  EXPECT_EQ(prune_audit(file_, filter), 2U);
  write({nobody(6000, "carol")});
  EXPECT_THAT(senders(after(next)), ElementsAre("carol 1 6000..6000"));
}

TEST_F(MissedQueryTest, ACursorOfAnotherFileOrNodeCountsByItsTime) {
  write({nobody(2000, "alice"), nobody(4000, "carol")});
  auto cursor = *MissedCursor::parse(since(kStart).next);
  auto& position = cursor.positions.front();
  position.time = 3000;
  position.id = 0;
  EXPECT_THAT(senders(ask({0, cursor})), ElementsAre("carol 1 4000..4000", "alice 1 2000..2000"));
  for (const auto& other : {MissedPosition{3000, 0, position.file + 1, "here"},
                            MissedPosition{3000, 0, position.file, "there"},
                            MissedPosition{3000, 1'000'000, position.file, "here"}}) {
    const MissedCursor changed{{other}};
    EXPECT_THAT(senders(ask({0, changed})), ElementsAre("carol 1 4000..4000")) << changed.text();
  }
}

TEST_F(MissedQueryTest, EachNodeAnswersFromItsOwnRows) {
  write({nobody(2000, "alice")});
  AuditStore other(file_, "there", false);
  other.begin_run(3000, {});
  other.begin();
  other.insert(nobody(4000, "carol"));
  other.insert(AuditGap{3500, 3600, 1});
  other.commit();
  EXPECT_THAT(senders(since(kStart)), ElementsAre("alice 1 2000..2000"));
  EXPECT_TRUE(since(kStart).complete);
  EXPECT_THAT(senders(since(kStart, "there")), ElementsAre("carol 1 4000..4000"));
  EXPECT_FALSE(since(3600, "there").complete);
  EXPECT_TRUE(since(3601, "there").complete);
  EXPECT_EQ(since(kStart, "").from.size(), 2U) << "all nodes";
}

// ---- complete --------------------------------------------------------------------------------

TEST_F(MissedQueryTest, IsCompleteSinceTheFirstRunOfTheNode) {
  store_->end_run(2000);
  store_->begin_run(3000, {});
  EXPECT_TRUE(since(kStart).complete);
  EXPECT_FALSE(since(kStart - 1).complete);
  EXPECT_FALSE(since(kStart, "elsewhere").complete);
}

TEST_F(MissedQueryTest, AGapThatOverlapsIsNotComplete) {
  const auto next = since(kStart).next;
  write(AuditGap{2000, 3000, 7});
  EXPECT_FALSE(since(kStart).complete);
  EXPECT_FALSE(since(3000).complete);
  EXPECT_TRUE(since(3001).complete);
  EXPECT_FALSE(after(next).complete);
  EXPECT_TRUE(after(since(kStart).next).complete) << "that answer has said so";
}

TEST_F(MissedQueryTest, DeletingByAgeOrSizeRaisesTheTimeSinceWhichItIsComplete) {
  write({pushed(2000), pushed(3000), pushed(4000), pushed(5000)});
  const auto next = since(kStart).next;
  delete_before(3001);
  EXPECT_FALSE(since(3000).complete);
  EXPECT_TRUE(since(3001).complete);
  delete_oldest(1);
  EXPECT_FALSE(since(4000).complete);
  EXPECT_TRUE(since(4001).complete);
  EXPECT_TRUE(after(next).complete) << "nothing new was deleted";
}

TEST_F(MissedQueryTest, ADeletedRowThatAnAnswerDidNotCoverIsNotComplete) {
  write({pushed(5000)});
  const auto next = since(kStart).next;
  write({pushed(2000)});  // late
  delete_before(3000);
  EXPECT_FALSE(after(next).complete);
  EXPECT_TRUE(after(since(kStart).next).complete);
}

TEST_F(MissedQueryTest, ADeletedGapStillSaysThatRowsAreMissing) {
  write(AuditGap{2000, 6000, 7});
  write({pushed(9000)});
  delete_before(7000);
  EXPECT_FALSE(since(6000).complete);
  EXPECT_TRUE(since(6001).complete);
}

TEST_F(MissedQueryTest, PruningWithoutAUserRaisesTheTimeAndPruningAUserDoesNot) {
  write(
      {nobody(2000, "alice"), nobody(3000, "carol"), pushed(4000, "dave", "carol", "carol_dave")});
  AuditFilter filter;
  filter.user = "alice";
  EXPECT_EQ(prune_audit(file_, filter), 1U);
  EXPECT_TRUE(since(kStart).complete);
  filter.user.clear();
  filter.until = 3500;
  EXPECT_EQ(prune_audit(file_, filter), 1U);
  EXPECT_FALSE(since(3000).complete);
  EXPECT_TRUE(since(3001).complete);
}

TEST_F(MissedQueryTest, NamesAHundredSendersTheLatestAndSaysIfThereAreMore) {
  const auto name = [](int i) { return "u" + std::to_string(i); };
  std::vector<std::string> names;
  for (int i = 0; i <= 100; ++i) names.push_back(name(i));
  std::vector<Delivery> rows{nobody(1500, "")};
  for (int i = 0; i < 100; ++i)
    rows.push_back(nobody(2000 + i, names[static_cast<std::size_t>(i)]));
  write(rows);
  auto missed = since(kStart);
  EXPECT_EQ(missed.from.size(), 100U);
  EXPECT_EQ(missed.notifications, 1U);
  EXPECT_TRUE(missed.complete);
  write({nobody(3000, names.back())});
  missed = since(kStart);
  EXPECT_EQ(missed.from.size(), 100U);
  EXPECT_EQ(missed.from.front().user, names.back());
  EXPECT_EQ(missed.from.back().user, names[1]) << "the earliest is not named";
  EXPECT_EQ(missed.notifications, 1U);
  EXPECT_FALSE(missed.complete);
}

TEST_F(MissedQueryTest, CountsTheNewestRowsOfAUserWithVeryManyAndSaysIfThereAreMore) {
  store_->begin();
  store_->insert(nobody(1500, "carol"));
  for (std::int64_t i = 1; i < kMaxMissedRows; ++i) store_->insert(nobody(2000 + i, "alice"));
  store_->commit();
  const auto next = since(kStart).next;
  for (int i = 0; i < 10; ++i) {
    store_->begin();
    for (int n = 0; n < 1000; ++n) store_->insert(nobody(20'000 + n, "alice"));
    store_->commit();
  }
  // The rows of others do not count.
  write({{Outcome::undelivered, 30'000, "alice_carol", "alice", "carol", "x", 0, 5}});
  const auto missed = since(kStart);
  EXPECT_THAT(senders(missed), ElementsAre("alice 10000 20000..20999"));
  EXPECT_FALSE(missed.complete);
  EXPECT_TRUE(after(missed.next).complete);
  EXPECT_THAT(senders(since(20'999)), ElementsAre("alice 10 20999..20999"));
  EXPECT_TRUE(since(20'999).complete);
  EXPECT_FALSE(after(next).complete);
}

TEST_F(MissedQueryTest, ManyRowsOfMessagesThatArrivedAreNotComplete) {
  store_->begin();
  for (std::int64_t i = 0; i < kMaxMissedRows; ++i) {
    store_->insert(dropped(2000 + i, static_cast<std::uint64_t>(i), 2));
  }
  store_->commit();
  EXPECT_THAT(senders(since(kStart)), IsEmpty());
  EXPECT_FALSE(since(kStart).complete) << "an earlier message may have been lost";
}

// ---- older files -----------------------------------------------------------------------------

TEST(OlderAudit, CountsOnlyWhatNobodyTookAndIsCompleteFromNowOn) {
  const Folder folder;
  const auto file = resolve_audit_path(folder.file("audit.db"));
  {
    Peek peek(file);
    ASSERT_EQ(peek.run("PRAGMA auto_vacuum = INCREMENTAL"), SQLITE_OK);
    ASSERT_EQ(peek.run(migrations()[0].sql), SQLITE_OK);
    ASSERT_EQ(peek.run(migrations()[1].sql), SQLITE_OK);
    ASSERT_EQ(
        peek.run(
            "PRAGMA application_id = 0x57617973; PRAGMA user_version = 2; "
            "INSERT INTO runs (node, started_at, ended_at) VALUES ('here', 1, 9); "
            "INSERT INTO deliveries (id, at, from_user, to_user, outcome, reached, node) VALUES "
            "(40, 5, 'alice', 'bob', 'undelivered', 0, 'here'), "
            "(41, 6, 'alice', 'bob', 'undelivered', 0, 'here'), "
            "(42, 7, 'alice', 'bob', 'dropped', 0, 'here')"),
        SQLITE_OK);
  }
  EXPECT_THROW(AuditReader(file).missed("bob", "here", {}, 9), AuditRefused)
      << "nothing has migrated it yet";
  const auto before = now_ms();
  AuditStore store(file, "here", true);
  store.begin_run(before, {});
  auto missed = AuditReader(file).missed("bob", "here", {0, {}}, before);
  EXPECT_THAT(senders(missed), ElementsAre("alice 2 5..6"));
  EXPECT_FALSE(missed.complete);
  const auto later = now_ms() + 1;
  EXPECT_FALSE(AuditReader(file).missed("bob", "here", {before - 1, {}}, later).complete);
  EXPECT_TRUE(AuditReader(file).missed("bob", "here", {later, {}}, later).complete);
  EXPECT_EQ(MissedCursor::parse(missed.next)->positions.front().id, 42);
}

// ---- speed -----------------------------------------------------------------------------------

TEST_F(MissedQueryTest, FollowsAnIndex) {
  const auto plan = AuditReader(file_).explain_missed();
  EXPECT_THAT(plan,
              AllOf(HasSubstr("SEARCH one USING INDEX deliveries_missed (to_user=? AND at>?)"),
                    HasSubstr("SEARCH other USING INDEX deliveries_missed (to_user=? AND at=? AND "
                              "message_key=?)"),
                    Not(HasSubstr("SCAN one")), Not(HasSubstr("SCAN other"))))
      << plan;
}

TEST_F(MissedQueryTest, StopsAtItsDeadline) {
  store_->begin();
  for (int i = 0; i < 20'000; ++i) store_->insert(nobody(2000 + i, "alice"));
  store_->commit();
  AuditReader reader(file_);
  reader.set_deadline(std::chrono::milliseconds(0));
  EXPECT_THROW(reader.missed("bob", "here", {kStart, {}}, now_), AuditTooSlow);
}

}  // namespace
}  // namespace waystation::test
