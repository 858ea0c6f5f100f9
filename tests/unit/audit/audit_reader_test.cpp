#include "audit/audit_reader.hpp"
#include "audit/audit_prune.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "audit/audit_file.hpp"
#include "audit/audit_store.hpp"
#include "support/failing_calls.hpp"
#include "unit/audit/audit_files.hpp"

namespace waystation::test {
namespace {

using namespace waystation::test;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class AuditReaderTest : public ::testing::Test {
 protected:
  Folder folder_;
  const std::string file_ = resolve_audit_path(folder_.file("audit.db"));

  /// A file with rows of alice, bob and carol at the times 1 to 8, and a gap from 5 to 6.
  void fill() {
    AuditStore store(file_, "here", true);
    store.begin();
    store.insert(pushed(1));
    store.insert(undelivered(2));
    store.insert(pushed(3, "bob", "carol", "bob_carol"));
    store.insert(undelivered(4, "carol", "alice", "alice_carol"));
    store.insert(AuditGap{5, 6, 9});
    store.insert({Outcome::dropped, 7, "alice_bob", "bob", "alice", "m7", 0, 5});
    store.insert({Outcome::undelivered, 8, "", "", "bob", "", 0, 5});
    store.commit();
  }

  std::vector<std::int64_t> times(const AuditFilter& filter) {
    std::vector<std::int64_t> times;
    for (const auto& row : AuditReader(file_).page(filter, {}, 100)) times.push_back(row.at);
    return times;
  }
};

TEST_F(AuditReaderTest, ReadsEveryFieldOldestFirst) {
  fill();
  const auto rows = AuditReader(file_).page({}, {}, 100);
  ASSERT_EQ(rows.size(), 7U);
  EXPECT_EQ(rows[0].at, 1);
  EXPECT_EQ(rows[0].outcome, AuditOutcome::pushed);
  EXPECT_EQ(rows[0].node, "here");
  EXPECT_EQ(rows[0].group, "alice_bob");
  EXPECT_EQ(rows[0].from, "alice");
  EXPECT_EQ(rows[0].to, "bob");
  EXPECT_EQ(rows[0].message_id, "m1");
  EXPECT_EQ(rows[0].reached, 1U);
  EXPECT_EQ(rows[0].bytes, 5U);
  EXPECT_EQ(rows[4].outcome, AuditOutcome::gap);
  EXPECT_EQ(rows[4].lost, 9U);
  EXPECT_EQ(rows[4].lost_until, 6);
  EXPECT_EQ(rows[6].group, "");
  EXPECT_EQ(rows[6].from, "");
}

TEST_F(AuditReaderTest, FiltersByTimeUserAndOutcomeAndNeverHidesAGap) {
  fill();
  AuditFilter filter;
  filter.since = 3;
  filter.until = 8;
  EXPECT_THAT(times(filter), ElementsAre(3, 4, 5, 7));
  filter = {};
  filter.user = "carol";
  EXPECT_THAT(times(filter), ElementsAre(3, 4, 5));
  filter = {};
  filter.to = "alice";
  EXPECT_THAT(times(filter), ElementsAre(4, 5, 7));
  filter.from = "bob";
  EXPECT_THAT(times(filter), ElementsAre(5, 7));
  filter = {};
  filter.from = "alice";
  EXPECT_THAT(times(filter), ElementsAre(1, 2, 5));
  filter = {};
  filter.add(AuditOutcome::undelivered);
  EXPECT_THAT(times(filter), ElementsAre(2, 4, 5, 8));
  filter.user = "bob";
  EXPECT_THAT(times(filter), ElementsAre(2, 5, 8));
  filter = {};
  filter.add(AuditOutcome::gap);
  EXPECT_THAT(times(filter), ElementsAre(5));
  filter = {};
  filter.add(AuditOutcome::pushed);
  EXPECT_THAT(times(filter), ElementsAre(1, 3, 5));
  EXPECT_EQ(AuditReader(file_).totals(filter).gaps, 1U);
}

TEST_F(AuditReaderTest, ReturnsAGapThatReachesIntoTheNewestRows) {
  {
    AuditStore store(file_, "here", true);
    store.begin();
    store.insert(AuditGap{0, 90, AuditGap::kUnknown});
    store.insert(AuditGap{1, 3, 1});  // this one does not
    for (int at = 1; at <= 100; ++at) store.insert(pushed(at));
    store.commit();
  }
  AuditReader reader(file_);
  std::vector<std::int64_t> times;
  for (const auto& row : reader.newest({}, 20)) times.push_back(row.at);
  EXPECT_EQ(times.size(), 20U);
  EXPECT_EQ(times.front(), 0);
  EXPECT_EQ(times.back(), 100);
  EXPECT_EQ(std::ranges::count(times, 1), 0);
  EXPECT_EQ(reader.totals({}).first_at, 1);  // of the rows
}

TEST_F(AuditReaderTest, ReadsAFileInAFolderThatCannotHoldAWal) {
  fill();
  // Like a read-only file system, which only root can create.
  std::filesystem::create_symlink("nowhere", file_ + "-shm");
  EXPECT_THAT(times({}), ElementsAre(1, 2, 3, 4, 5, 7, 8));
  // But not if rows may be in a WAL that cannot be read.
  std::ofstream(file_ + "-wal") << "rows";
  EXPECT_THROW(AuditReader{file_}, SqliteError);
}

TEST_F(AuditReaderTest, ReturnsAGapThatReachesIntoTheRequestedTime) {
  fill();
  AuditFilter filter;
  filter.since = 6;
  EXPECT_THAT(times(filter), ElementsAre(5, 7, 8));
}

TEST_F(AuditReaderTest, PagesContainEachRowOnce) {
  {
    AuditStore store(file_, "here", true);
    store.begin();
    for (int i = 0; i < 1000; ++i) store.insert(pushed(i / 7));  // many of one time
    for (int i = 0; i < 20; ++i) store.insert(AuditGap{i * 5, i * 5 + 1, 1});
    store.commit();
  }
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{6}, std::size_t{7}, std::size_t{333}}) {
    AuditReader reader(file_);
    std::optional<AuditCursor> after;
    std::vector<std::int64_t> ids;
    std::int64_t last_at = 0;
    for (;;) {
      const auto rows = reader.page({}, after, size);
      for (const auto& row : rows) {
        EXPECT_GE(row.at, last_at);
        last_at = row.at;
        ids.push_back(row.id);
      }
      if (rows.size() < size) break;
      after = AuditCursor::of(rows.back(), AuditOrder::oldest);
    }
    EXPECT_EQ(ids.size(), 1020U);
    std::ranges::sort(ids);
    EXPECT_TRUE(std::ranges::adjacent_find(ids) == ids.end());
  }
}

TEST_F(AuditReaderTest, PagesNewestFirstContainEachRowOnceDuringWrites) {
  AuditStore store(file_, "here", true);
  store.begin();
  for (int i = 0; i < 1000; ++i) store.insert(pushed(i / 7));  // many of one time
  for (int i = 0; i < 20; ++i) store.insert(AuditGap{i * 2, i * 5 + 1, 1});
  store.insert(AuditGap{0, 142, AuditGap::kUnknown});  // from the first to the last
  store.commit();
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{6}, std::size_t{7}, std::size_t{333}}) {
    AuditReader reader(file_);
    std::optional<AuditCursor> after;
    std::vector<std::int64_t> ids;
    AuditCursor last{std::numeric_limits<std::int64_t>::max(), 0};
    for (;;) {
      const auto rows = reader.page({}, after, size, AuditOrder::newest);
      for (const auto& row : rows) {
        const auto place = AuditCursor::of(row, AuditOrder::newest);
        EXPECT_LT(std::pair(place.at, place.id), std::pair(last.at, last.id));
        last = place;
        ids.push_back(row.id);
      }
      if (rows.size() < size) break;
      after = AuditCursor::of(rows.back(), AuditOrder::newest);
      store.begin();
      store.insert({Outcome::pushed, 500'000, "bob_zoe", "zoe", "bob", "late", 1, 5});
      store.commit();
    }
    std::ranges::sort(ids);
    EXPECT_TRUE(std::ranges::adjacent_find(ids) == ids.end());
    EXPECT_EQ(std::ranges::count_if(ids, [](std::int64_t id) { return id <= 1021; }), 1021) << size;
  }
}

TEST_F(AuditReaderTest, NewestFirstAppliesTheFilter) {
  fill();
  AuditReader reader(file_);
  const auto backwards = [&](const AuditFilter& filter, std::optional<AuditCursor> after) {
    std::vector<std::int64_t> times;
    for (const auto& row : reader.page(filter, after, 100, AuditOrder::newest)) {
      times.push_back(row.at);
    }
    return times;
  };
  EXPECT_THAT(backwards({}, {}), ElementsAre(8, 7, 5, 4, 3, 2, 1));
  AuditFilter filter;
  filter.since = 3;
  filter.until = 8;
  EXPECT_THAT(backwards(filter, {}), ElementsAre(7, 5, 4, 3));
  EXPECT_THAT(backwards(filter, AuditCursor{7, 0}), ElementsAre(5, 4, 3));
  EXPECT_THAT(backwards(filter, AuditCursor{100, 0}), ElementsAre(7, 5, 4, 3));
  filter.since = 6;  // the gap from 5 to 6 lasts into it
  EXPECT_THAT(backwards(filter, {}), ElementsAre(7, 5));
  filter = {};
  filter.user = "carol";
  EXPECT_THAT(backwards(filter, {}), ElementsAre(5, 4, 3));
  filter = {};
  filter.add(AuditOutcome::gap);
  EXPECT_THAT(backwards(filter, {}), ElementsAre(5));
  EXPECT_THAT(backwards(filter, AuditCursor{6, 1}), ElementsAre());
}

TEST_F(AuditReaderTest, ReturnsTheNewestRowsOldestFirst) {
  fill();
  std::vector<std::int64_t> times;
  for (const auto& row : AuditReader(file_).newest({}, 3)) times.push_back(row.at);
  EXPECT_THAT(times, ElementsAre(5, 7, 8));
}

TEST_F(AuditReaderTest, EachReadsAllPagesAndStopsOnRequest) {
  {
    AuditStore store(file_, "here", true);
    store.begin();
    for (int i = 0; i < 3500; ++i) store.insert(pushed(i));
    store.commit();
  }
  AuditReader reader(file_);
  std::int64_t expected = 0;
  reader.each({}, [&](const AuditRow& row) { return row.at == expected++; });
  EXPECT_EQ(expected, 3500);
  int seen = 0;
  reader.each({}, [&](const AuditRow&) { return ++seen < 1500; });
  EXPECT_EQ(seen, 1500);
}

TEST_F(AuditReaderTest, EveryQueryUsesAnIndexAndSortsNothing) {
  fill();
  AuditReader reader(file_);
  std::vector<AuditFilter> filters(9);
  filters[1].user = "bob";
  filters[2].from = "bob";
  filters[3].to = "bob";
  filters[4].to = "bob";
  filters[4].from = "alice";
  filters[5].add(AuditOutcome::undelivered);
  filters[6].add(AuditOutcome::undelivered);
  filters[6].add(AuditOutcome::dropped);
  filters[7].user = "bob";
  filters[7].add(AuditOutcome::pushed);
  filters[8].add(AuditOutcome::gap);
  for (std::size_t i = 0; i < filters.size(); ++i) {
    for (const auto order : {AuditOrder::oldest, AuditOrder::newest}) {
      const auto plan = reader.explain(filters[i], order);
      EXPECT_THAT(plan, AllOf(HasSubstr("SEARCH deliveries USING INDEX"), Not(HasSubstr("SCAN"))))
          << i;
      // Only gaps, of which there are few, are put in the order of their ends.
      EXPECT_THAT(plan.substr(0, plan.find("gaps:\n")), Not(HasSubstr("TEMP B-TREE"))) << i;
    }
  }
  for (const auto order : {AuditOrder::oldest, AuditOrder::newest}) {
    EXPECT_THAT(reader.explain(filters[1], order),
                AllOf(HasSubstr("deliveries_by_receiver (to_user=? AND at>? AND at<?)"),
                      HasSubstr("deliveries_by_sender (from_user=? AND at>? AND at<?)")));
  }
  EXPECT_THAT(reader.explain(filters[1], AuditOrder::oldest),
              HasSubstr("deliveries_not_pushed (outcome=? AND at>? AND at<?)"));
  EXPECT_THAT(
      reader.explain(filters[1], AuditOrder::newest),
      HasSubstr("gaps:\nSEARCH deliveries USING INDEX deliveries_not_pushed (outcome=? AND at<?)"));
}

TEST_F(AuditReaderTest, CountsTotals) {
  fill();
  AuditReader reader(file_);
  const auto totals = reader.totals({});
  EXPECT_EQ(totals.pushed, 2U);
  EXPECT_EQ(totals.undelivered, 3U);
  EXPECT_EQ(totals.dropped, 1U);
  EXPECT_EQ(totals.gaps, 1U);
  EXPECT_EQ(totals.lost, 9U);
  EXPECT_EQ(totals.unknown_gaps, 0U);
  EXPECT_EQ(totals.first_at, 1);
  EXPECT_EQ(totals.last_at, 8);
  const auto users = reader.top_receivers(AuditOutcome::undelivered, {}, 10);
  ASSERT_EQ(users.size(), 2U);
  EXPECT_EQ(users[0].name, "bob");
  EXPECT_EQ(users[0].count, 2U);
  const auto droppers = reader.top_receivers(AuditOutcome::dropped, {}, 10);
  ASSERT_EQ(droppers.size(), 1U);
  EXPECT_EQ(droppers[0].name, "alice");
  AuditFilter pushed_only;
  pushed_only.add(AuditOutcome::pushed);
  EXPECT_TRUE(reader.top_receivers(AuditOutcome::dropped, pushed_only, 10).empty());
  const auto pairs = reader.top_fallbacks({}, 1);
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs[0].name, "alice_bob");
}

TEST_F(AuditReaderTest, ReadsWhileTheWriterHoldsALongTransaction) {
  AuditStore store(file_, "here", true);
  store.begin();
  store.insert(pushed(1));
  store.commit();
  store.begin();
  store.insert(pushed(2));
  EXPECT_THAT(times({}), ElementsAre(1));
  store.commit();
  EXPECT_THAT(times({}), ElementsAre(1, 2));
}

TEST_F(AuditReaderTest, StopsAtItsDeadline) {
  {
    AuditStore store(file_, "here", true);
    store.begin();
    for (int i = 0; i < 100'000; ++i) store.insert(pushed(i));
    store.commit();
  }
  AuditReader reader(file_);
  reader.set_deadline(std::chrono::milliseconds(0));
  AuditFilter filter;
  filter.from = "nobody";
  filter.to = "bob";
  EXPECT_THROW(reader.page(filter, {}, 10), AuditTooSlow);
}

TEST_F(AuditReaderTest, RefusesOtherFiles) {
  const auto refusal = [&] {
    try {
      AuditReader reader(file_);
    } catch (const AuditRefused& refused) {
      return std::string(refused.what());
    }
    return std::string();
  };
  EXPECT_THAT(refusal(), HasSubstr("there is no such file"));
  std::ofstream(file_) << std::string(2000, 'x');
  EXPECT_THAT(refusal(), HasSubstr("damaged or not an audit"));
  std::filesystem::remove(file_);
  Peek(file_).run("CREATE TABLE theirs (x)");
  EXPECT_THAT(refusal(), HasSubstr("it is not an audit"));
  std::filesystem::remove(file_);
  { AuditStore store(file_, "here", true); }
  Peek(file_).run("PRAGMA user_version = 99");
  EXPECT_THAT(refusal(), HasSubstr("a newer program made it"));
}

TEST_F(AuditReaderTest, ChangesNothing) {
  fill();
  const auto before = std::filesystem::last_write_time(file_);
  const auto size = std::filesystem::file_size(file_);
  AuditReader(file_).totals({});
  EXPECT_EQ(std::filesystem::last_write_time(file_), before);
  EXPECT_EQ(std::filesystem::file_size(file_), size);
}

TEST(AuditCursor, IsParsedFromItsText) {
  const AuditCursor cursor{1'700'000'000'123, 42};
  EXPECT_EQ(cursor.text(), "1700000000123.42");
  const auto back = AuditCursor::parse(cursor.text());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->at, cursor.at);
  EXPECT_EQ(back->id, cursor.id);
  for (const char* text : {"", "1", "1.", ".1", "1.2x", "a.b", "1.2.3", " 1.2"}) {
    EXPECT_FALSE(AuditCursor::parse(text)) << text;
  }
}

TEST_F(AuditReaderTest, PruningDeletesTheRowsOfTheFilter) {
  fill();
  AuditFilter filter;
  filter.user = "carol";
  EXPECT_EQ(prune_audit(file_, filter), 2U);  // not the gap
  EXPECT_THAT(times({}), ElementsAre(1, 2, 5, 7, 8));
  filter = {};
  filter.until = 7;
  filter.add(AuditOutcome::dropped);
  EXPECT_EQ(prune_audit(file_, filter), 0U);  // nor here
  filter.outcomes = 0;
  EXPECT_EQ(prune_audit(file_, filter), 3U);
  EXPECT_THAT(times({}), ElementsAre(7, 8));
}

TEST_F(AuditReaderTest, PruningLeavesAGapThatReachesBeyondItsTime) {
  {
    AuditStore store(file_, "here", true);
    store.begin();
    store.insert(AuditGap{10, 20, 1});
    store.insert(AuditGap{15, 100, 2});
    store.insert(AuditGap{200, 300, 3});
    store.insert(AuditGap{250, 260, 4});
    store.commit();
  }
  AuditFilter filter;
  filter.until = 50;
  EXPECT_EQ(prune_audit(file_, filter), 1U);
  filter = {};
  filter.since = 220;
  EXPECT_EQ(prune_audit(file_, filter), 1U);
  EXPECT_EQ(
      Peek(file_).value("SELECT group_concat(lost) FROM (SELECT lost FROM deliveries ORDER BY "
                        "lost)"),
      "2,3");
}

TEST_F(AuditReaderTest, PruningShrinksTheFileAndLeavesNoTrace) {
  {
    AuditStore store(file_, "here", true);
    store.begin();
    for (int i = 0; i < 20'000; ++i) store.insert(pushed(i, "mallory", "bob", "bob_mallory"));
    store.commit();
  }
  const auto before = std::filesystem::file_size(file_);
  AuditFilter filter;
  filter.user = "mallory";
  EXPECT_EQ(prune_audit(file_, filter), 20'000U);
  EXPECT_LT(std::filesystem::file_size(file_), before / 10);
  std::ifstream in(file_, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(in), {});
  EXPECT_EQ(bytes.find("mallory"), std::string::npos);
}

TEST_F(AuditReaderTest, PruningFailsIfDeletedRowsMayStillBeInTheWal) {
  AuditStore store(file_, "here", true);
  store.begin();
  for (int i = 0; i < 100; ++i) store.insert(pushed(i, "mallory", "bob", "bob_mallory"));
  store.commit();
  test::where_it_fails({SYS_ftruncate, EIO}, [&] {
    AuditFilter filter;
    filter.user = "mallory";
    std::uint64_t count = 0;
    EXPECT_THROW(prune_audit(file_, filter, &count), SqliteError);
    EXPECT_EQ(count, 100U);
  });
}

TEST_F(AuditReaderTest, PruningDoesNotDisturbAWriter) {
  const auto now = now_ms();
  Lines lines;
  Audit audit(quick(file_, lines));
  for (int i = 0; i < 20'000; ++i) audit.on_delivery(pushed(now - 10'000 + i % 100));
  ASSERT_TRUE(audit.flush(kPatience));
  std::thread pruner([&] {
    AuditFilter filter;
    filter.until = now;
    std::uint64_t pruned = 0;
    // A writer that never pauses may keep the lock from it.
    EXPECT_TRUE(eventually(
        [&] {
          std::uint64_t count = 0;
          bool is_busy = false;
          const auto begun = std::chrono::steady_clock::now();
          try {
            prune_audit(file_, filter, &count);
          } catch (const SqliteError& error) {
            is_busy = error.primary_code() == SQLITE_BUSY;
            EXPECT_TRUE(is_busy) << error.what();
            EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5))
                << "it waits for the lock";
          }
          pruned += count;
          return !is_busy;
        },
        std::chrono::seconds(60)));
    EXPECT_EQ(pruned, 20'000U);
  });
  for (int i = 0; i < 200; ++i) {
    audit.on_delivery(pushed(now + i));
    EXPECT_TRUE(audit.flush(kPatience));
  }
  pruner.join();
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries"), "200");
  EXPECT_EQ(audit.stats().rows_lost, 0U);
  // On a busy machine a step may hold the lock for longer than the writer waits. The writer then
  // logs an error and retries. There must be no other error.
  EXPECT_EQ(lines.count("error: "), lines.count(": locked ("));
  EXPECT_EQ(lines.count("warning: "), 0U);
}

}  // namespace
}  // namespace waystation::test
