#include "audit/audit_store.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "audit/migrations.hpp"
#include "support/failing_calls.hpp"
#include "unit/audit/audit_files.hpp"
#include "unit/audit/sqlite_hook.hpp"

namespace waystation::test {
namespace {

using namespace waystation::test;

class AuditStoreTest : public ::testing::Test {
 protected:
  Folder folder_;
  const std::string file_ = resolve_audit_path(folder_.file("audit.db"));
};

TEST(Migrations, AreNumberedFromOneWithoutAGap) {
  int expected = 1;
  for (const auto& migration : migrations()) EXPECT_EQ(migration.version, expected++);
  EXPECT_EQ(newest_audit_version(), expected - 1);
}

TEST_F(AuditStoreTest, MigratesANewFileToTheNewestVersion) {
  { AuditStore store(file_, "here", true); }
  Peek peek(file_);
  EXPECT_EQ(peek.value("PRAGMA user_version"), std::to_string(newest_audit_version()));
  EXPECT_EQ(peek.value("PRAGMA journal_mode"), "wal");
  EXPECT_EQ(peek.value("PRAGMA application_id"), std::to_string(0x57617973));
}

TEST_F(AuditStoreTest, MigratesAnOlderFileToTheNewestVersionAndKeepsItsRows) {
  {
    Peek peek(file_);
    ASSERT_EQ(peek.run("PRAGMA auto_vacuum = INCREMENTAL"), SQLITE_OK);
    ASSERT_EQ(peek.run(migrations()[0].sql), SQLITE_OK);
    ASSERT_EQ(peek.run("PRAGMA application_id = 0x57617973; PRAGMA user_version = 1; INSERT INTO "
                       "deliveries (at, to_user, outcome, node) VALUES (5, 'bob', 'pushed', 'n')"),
              SQLITE_OK);
  }
  { AuditStore store(file_, "here", true); }
  Peek peek(file_);
  EXPECT_EQ(peek.value("PRAGMA user_version"), std::to_string(newest_audit_version()));
  EXPECT_EQ(peek.value("SELECT at FROM deliveries"), "5");
  EXPECT_EQ(peek.value("SELECT count(*) FROM pairs_that_miss_each_other"), "0");
}

TEST_F(AuditStoreTest, NeverAppliesItsWalToAnotherFile) {
  const auto other = folder_.file("other.db");
  { AuditStore there(other, "here", true); }
  AuditStore store(file_, "here", true);
  Peek reader(file_);
  ASSERT_EQ(reader.run("BEGIN; SELECT * FROM runs"), SQLITE_OK);
  store.begin();
  store.insert(pushed(1));
  store.commit();
  std::filesystem::rename(other, file_);
  // Not truncated, since a reader uses it, and not renamed or removed.
  test::where_it_fails({SYS_rename, EACCES}, [&] {
    test::make_fail({SYS_unlink, EACCES});
    store.abandon_moved_file(2);
  });
  EXPECT_EQ(std::filesystem::file_size(file_ + "-wal"), 0U);
}

TEST_F(AuditStoreTest, AMigrationThatFailsLeavesTheFileAsItWas) {
  {
    Peek peek(file_);
    ASSERT_EQ(peek.run(migrations()[0].sql), SQLITE_OK);
    // The second migration fails because of this.
    ASSERT_EQ(peek.run("CREATE TABLE gaps (x); PRAGMA application_id = 0x57617973; "
                       "PRAGMA user_version = 1"),
              SQLITE_OK);
  }
  EXPECT_THROW(AuditStore(file_, "here", true), SqliteError);
  Peek peek(file_);
  EXPECT_EQ(peek.value("PRAGMA user_version"), "1");
  EXPECT_EQ(peek.value("SELECT count(*) FROM sqlite_schema WHERE type = 'view'"), "0");
}

TEST_F(AuditStoreTest, RefusesAFileThatIsReplacedAsItIsOpened) {
  { AuditStore store(file_, "here", true); }
  const auto other = folder_.file("other.db");
  { AuditStore store(other, "here", true); }
  int opened = 0;
  const OpenHook hook([&](sqlite3*) {
    // The first one only looks.
    if (++opened == 2) std::filesystem::rename(other, file_);
  });
  try {
    AuditStore store(file_, "here", true);
    FAIL();
  } catch (const SqliteError& error) {
    EXPECT_STREQ(error.what(), "the file was replaced while it was opened");
  }
  EXPECT_EQ(opened, 2);
}

TEST_F(AuditStoreTest, AGapIsAsOldAsItsEnd) {
  AuditStore store(file_, "here", true);
  const auto gaps = [&] {
    return Peek(file_).value(
        "SELECT ifnull(group_concat(lost), '') FROM (SELECT lost FROM "
        "deliveries WHERE outcome = 'gap' ORDER BY lost)");
  };
  store.begin();
  store.insert(AuditGap{0, 20, 1});
  store.insert(AuditGap{0, 500, 2});
  for (int at = 10; at < 110; ++at) store.insert(pushed(at));
  EXPECT_EQ(store.delete_before(40, 1000), 31U);  // 30 rows, and the gap that ended before
  store.commit();
  EXPECT_EQ(gaps(), "2");
  store.begin();
  store.insert(AuditGap{0, 49, 3});
  EXPECT_EQ(store.delete_oldest(10), 11U);  // up to 49, and the gap that ended there
  store.commit();
  EXPECT_EQ(gaps(), "2");
  EXPECT_EQ(Peek(file_).value("SELECT min(at) FROM deliveries WHERE outcome <> 'gap'"), "50");
  store.begin();
  EXPECT_EQ(store.delete_oldest(1000), 61U);  // all rows
  store.commit();
  EXPECT_EQ(gaps(), "");
}

TEST_F(AuditStoreTest, TheGapOfAKilledRunCoversRowsAfterTheClockWasSetBack) {
  constexpr std::int64_t kHour = 3'600'000;
  {
    AuditStore store(file_, "here", true);
    store.begin_run(10 * kHour, std::nullopt);
    store.begin();
    store.insert(pushed(10 * kHour + 5));
    store.insert(pushed(9 * kHour));  // the last row, after the clock was set back
    store.commit();
  }
  AuditStore store(file_, "here", true);
  EXPECT_TRUE(store.begin_run(9 * kHour + 60'000, std::nullopt));
  EXPECT_EQ(
      Peek(file_).value("SELECT at || '-' || lost_until FROM deliveries WHERE outcome = 'gap'"),
      std::to_string(9 * kHour) + "-" + std::to_string(9 * kHour + 60'000));
}

TEST_F(AuditStoreTest, CanBeStoppedWhileItChecksAFile) {
  {
    AuditStore store(file_, "here", true);
    store.begin();
    for (int i = 0; i < 5000; ++i) store.insert(pushed(i));
    store.commit();
  }
  try {
    AuditStore store(file_, "here", true, [] { return false; });
    FAIL();
  } catch (const SqliteError& error) {
    EXPECT_EQ(error.primary_code(), SQLITE_INTERRUPT);
  }
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries"), "5000");
}

TEST_F(AuditStoreTest, RollsBackABatchThatWasNotCommitted) {
  AuditStore store(file_, "here", true);
  store.begin();
  store.insert(pushed(1));
  store.rollback();
  store.begin();
  store.insert(pushed(2));
  store.commit();
  EXPECT_EQ(Peek(file_).value("SELECT group_concat(at) FROM deliveries"), "2");
}

TEST_F(AuditStoreTest, DeletesTheOldestRowsFirstInAnyOrderOfInsertion) {
  AuditStore store(file_, "here", true);
  store.begin();
  for (const int at : {5, 1, 4, 2, 3}) store.insert(pushed(at));
  EXPECT_EQ(store.delete_oldest(2), 2U);
  EXPECT_EQ(store.delete_before(4, 10), 1U);
  store.commit();
  EXPECT_EQ(Peek(file_).value("SELECT group_concat(at) FROM deliveries"), "4,5");
}

TEST_F(AuditStoreTest, ViewsListTheMessagesThatUsersMissed) {
  AuditStore store(file_, "here", true);
  store.begin();
  const std::int64_t noon = 1'700'049'600'000;  // the same day everywhere but at the date line
  for (int i = 0; i < 3; ++i) store.insert(undelivered(noon + i, "alice", "bob"));
  store.insert(undelivered(noon + 3, "carol", "bob", "bob_carol"));
  store.insert(pushed(noon + 4, "bob", "alice"));
  store.insert(AuditGap{noon + 5, noon + 6, 7});
  store.commit();
  Peek peek(file_);
  EXPECT_EQ(peek.value("SELECT to_user || ' ' || undelivered || ' ' || senders FROM "
                       "undelivered_by_user_and_day"),
            "bob 4 2");
  EXPECT_EQ(peek.value("SELECT group_name || ' ' || missed || ' ' || undelivered || ' ' || "
                       "missed_by_second || ' ' || missed_by_first FROM "
                       "pairs_that_miss_each_other"),
            "alice_bob 4 3 3 1");
  EXPECT_EQ(peek.value("SELECT lost FROM gaps"), "7");
  EXPECT_EQ(peek.value("SELECT count(*) FROM audit"), "6");
}

}  // namespace
}  // namespace waystation::test
