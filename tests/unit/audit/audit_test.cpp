#include "audit/audit.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>

#include "unit/audit/audit_files.hpp"

namespace waystation {
namespace {

using namespace waystation::testing;
using ::testing::HasSubstr;

class AuditTest : public ::testing::Test {
 protected:
  Folder folder_;
  Lines lines_;
  const std::string file_ = folder_.file("audit.db");

  AuditOptions options() { return quick(file_, lines_); }
};

TEST_F(AuditTest, KeepsARowForEachOutcomeButChat) {
  const auto now = now_ms();
  Audit audit(options());
  audit.on_delivery({Outcome::pushed, now, "alice_bob", "alice", "bob", "m1", 2, 17});
  audit.on_delivery({Outcome::undelivered, now + 1, "", "", "carol", "", 0, 3});
  audit.on_delivery({Outcome::dropped, now + 2, "alice_bob", "bob", "alice", "m3", 0, 9});
  audit.on_delivery({Outcome::chat, now + 3, "alice_bob", "bob", "alice", "m4", 1, 9});  // no row
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(audit.figures().rows_written, 3U);
  Peek peek(file_);
  EXPECT_EQ(peek.value("SELECT group_concat(at || ',' || ifnull(group_name, '-') || ',' || "
                       "ifnull(from_user, '-') || ',' || to_user || ',' || outcome || ',' || "
                       "reached || ',' || bytes || ',' || ifnull(message_id, '-') || ',' || node, "
                       "' ') FROM deliveries"),
            std::to_string(now) + ",alice_bob,alice,bob,pushed,2,17,m1,here " +
                std::to_string(now + 1) + ",-,-,carol,undelivered,0,3,-,here " +
                std::to_string(now + 2) + ",alice_bob,bob,alice,dropped,0,9,m3,here");
}

TEST_F(AuditTest, HasNoColumnForContent) {
  Audit audit(options());
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(Peek(file_).value("SELECT group_concat(name) FROM pragma_table_info('deliveries')"),
            "id,at,group_name,from_user,to_user,outcome,reached,bytes,message_id,node,lost,"
            "lost_until");
}

TEST_F(AuditTest, MakesAFileThatOnlyItsOwnerCanRead) {
  const auto mask = ::umask(0);
  {
    Audit audit(options());
    audit.on_delivery(pushed(now_ms()));
    ASSERT_TRUE(audit.flush(kPatience));
    for (const char* part : {"", "-wal", "-shm"}) {
      struct stat status {};
      ASSERT_EQ(::stat((file_ + part).c_str(), &status), 0) << part;
      EXPECT_EQ(status.st_mode & 0777U, 0600U) << part;
    }
  }
  ::umask(mask);
}

TEST_F(AuditTest, TakesAwayOthersRightToReadIt) {
  { Audit audit(options()); }
  ASSERT_EQ(::chmod(file_.c_str(), 0644), 0);
  Audit audit(options());
  struct stat status {};
  ASSERT_EQ(::stat(file_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  EXPECT_EQ(lines_.count("its mode is now 0600"), 1U);
}

TEST_F(AuditTest, FlushesWhatIsQueuedBeforeItEnds) {
  const auto now = now_ms();
  {
    auto slow = options();
    slow.batch_interval = std::chrono::hours(1);
    Audit audit(slow);
    for (int i = 0; i < 25'000; ++i) audit.on_delivery(pushed(now + i));
  }
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries"), "25000");
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM runs WHERE ended_at IS NULL"), "0");
  EXPECT_FALSE(std::filesystem::exists(file_ + "-wal"));
}

TEST_F(AuditTest, CountsWhatTheQueueCannotTakeAndSaysSoInARow) {
  const auto now = now_ms();
  auto small = options();
  small.queue_bytes = 4096;
  small.batch_interval = std::chrono::hours(1);
  std::uint64_t lost = 0;
  {
    Audit audit(small);
    for (int i = 0; i < 1000; ++i) audit.on_delivery(pushed(now + i));
    lost = audit.figures().rows_lost;
    EXPECT_GT(lost, 500U);
    ASSERT_TRUE(audit.flush(kPatience));
  }
  Peek peek(file_);
  EXPECT_EQ(peek.value("SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"),
            std::to_string(1000 - lost));
  EXPECT_EQ(peek.value("SELECT lost || ' ' || (at - " + std::to_string(now) + ") || ' ' || "
                       "(lost_until - " + std::to_string(now) + ") FROM deliveries "
                       "WHERE outcome = 'gap'"),
            std::to_string(lost) + " " + std::to_string(1000 - lost) + " 999");
}

TEST_F(AuditTest, ARunThatWasCutLeavesAGapOfUnknownSize) {
  const auto now = now_ms();
  const pid_t child = ::fork();
  if (child == 0) {
    Audit audit(options());
    audit.on_delivery(pushed(now));
    if (!audit.flush(kPatience)) ::_exit(1);
    ::_exit(0);  // without an end
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  Audit audit(options());
  ASSERT_TRUE(eventually([&] { return audit.figures().state == AuditState::ok; }));
  Peek peek(file_);
  EXPECT_EQ(peek.value("SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"), "1");
  EXPECT_EQ(peek.value("SELECT (at >= " + std::to_string(now) + ") || ifnull(lost, 'unknown') "
                       "FROM deliveries WHERE outcome = 'gap'"),
            "1unknown");
  EXPECT_EQ(lines_.count("ended without closing it"), 1U);
}

TEST_F(AuditTest, ARunThatEndedWellLeavesNoGap) {
  { Audit audit(options()); }
  Audit audit(options());
  ASSERT_TRUE(eventually([&] { return audit.figures().state == AuditState::ok; }));
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries"), "0");
  EXPECT_TRUE(lines_.all().empty());
}

// ---- retention

TEST_F(AuditTest, TakesOutWhatIsOlderThanItsDays) {
  const auto now = now_ms();
  const std::int64_t day = 86'400'000;
  {
    auto for_ever = options();
    for_ever.retention_days = 0;
    Audit audit(for_ever);
    for (int i = 0; i < 3000; ++i) audit.on_delivery(pushed(now - 31 * day + i));
    for (int i = 0; i < 10; ++i) audit.on_delivery(pushed(now - 29 * day + i));
  }
  Audit audit(options());
  Peek peek(file_);
  EXPECT_TRUE(eventually([&] { return peek.value("SELECT count(*) FROM deliveries") == "10"; }));
}

TEST_F(AuditTest, KeepsTheFileWithinItsSize) {
  const auto now = now_ms();
  constexpr std::uint64_t kMax = 2 << 20;
  auto bounded = options();
  bounded.max_bytes = kMax;
  Audit audit(bounded);
  for (int i = 0; i < 60'000; ++i) {
    audit.on_delivery(pushed(now + i));
    if (i % 1000 == 0) {
      ASSERT_TRUE(audit.flush(kPatience));
    }
  }
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_TRUE(eventually([&] { return std::filesystem::file_size(file_) <= kMax; }));
  Peek peek(file_);
  // The newest are there, and as many as there is room for.
  EXPECT_EQ(peek.value("SELECT max(at) FROM deliveries"), std::to_string(now + 59'999));
  EXPECT_GT(std::stoll(peek.value("SELECT count(*) FROM deliveries")), 5000);
  EXPECT_EQ(peek.value("SELECT count(*) = max(at) - min(at) + 1 FROM deliveries"), "1");
  EXPECT_EQ(audit.figures().rows_lost, 0U);
}

TEST_F(AuditTest, GivesRoomBackWhenTheSizeIsLowered) {
  const auto now = now_ms();
  Audit audit(options());
  for (int i = 0; i < 30'000; ++i) audit.on_delivery(pushed(now + i));
  ASSERT_TRUE(audit.flush(kPatience));
  audit.set_retention(30, 1 << 20);
  EXPECT_TRUE(eventually([&] {
    return Peek(file_).value("PRAGMA wal_checkpoint") != "x" &&
           std::filesystem::file_size(file_) <= 1 << 20;
  }));
  EXPECT_EQ(Peek(file_).value("PRAGMA integrity_check"), "ok");
}

// ---- what is refused

TEST_F(AuditTest, RefusesALink) {
  std::filesystem::create_symlink(folder_.file("elsewhere"), file_);
  try {
    Audit audit(options());
    FAIL();
  } catch (const AuditRefused& refused) {
    EXPECT_THAT(refused.what(), HasSubstr("it is a link"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.file("elsewhere")));
}

TEST_F(AuditTest, RefusesAFileOfANewerProgramAndLeavesItUntouched) {
  {
    Peek peek(file_);
    peek.run("PRAGMA journal_mode = WAL; CREATE TABLE deliveries (x); PRAGMA user_version = 99");
  }
  const auto read = [&] {
    std::ifstream in(file_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const auto before = read();
  try {
    Audit audit(options());
    FAIL();
  } catch (const AuditRefused& refused) {
    EXPECT_THAT(refused.what(), HasSubstr("a newer program made it (version 99"));
  }
  EXPECT_EQ(read(), before);
  EXPECT_THAT(folder_.names(), ::testing::ElementsAre("audit.db"));
}

TEST_F(AuditTest, RefusesANewerVersionThatOnlyTheLogKnowsOf) {
  ASSERT_EQ(::system(("sqlite3 " + file_ + " 'PRAGMA journal_mode = WAL; CREATE TABLE t (x)' "
                      "> /dev/null").c_str()), 0);
  // A process that ends without closing leaves its log.
  const pid_t child = ::fork();
  if (child == 0) {
    auto* peek = new Peek(file_);
    peek->run("PRAGMA user_version = 99");
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  const auto before = std::filesystem::file_size(file_ + "-wal");
  ASSERT_GT(before, 0U);
  EXPECT_THROW(Audit audit(options()), AuditRefused);
  EXPECT_EQ(std::filesystem::file_size(file_ + "-wal"), before);
}

TEST_F(AuditTest, RefusesAnotherProgramsDatabase) {
  Peek(file_).run("CREATE TABLE theirs (x)");
  try {
    Audit audit(options());
    FAIL();
  } catch (const AuditRefused& refused) {
    EXPECT_THAT(refused.what(), HasSubstr("a database of another program"));
  }
  EXPECT_EQ(Peek(file_).value("SELECT group_concat(name) FROM sqlite_schema"), "theirs");
}

// ---- faults

TEST_F(AuditTest, WaitsForAnothersLockWithoutLosingARow) {
  const auto now = now_ms();
  Audit audit(options());
  audit.on_delivery(pushed(now));
  ASSERT_TRUE(audit.flush(kPatience));
  Peek other(file_);
  ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  for (int i = 1; i <= 100; ++i) audit.on_delivery(pushed(now + i));
  ASSERT_TRUE(eventually([&] { return audit.figures().state == AuditState::locked; }));
  EXPECT_EQ(audit.figures().rows_waiting, 100U);
  ASSERT_TRUE(eventually([&] { return audit.figures().lag_ms > 600; }));  // several attempts
  EXPECT_EQ(other.run("COMMIT"), SQLITE_OK);
  ASSERT_TRUE(audit.flush(kPatience));
  ASSERT_TRUE(eventually([&] { return audit.figures().state == AuditState::ok; }));
  EXPECT_EQ(other.value("SELECT count(*) FROM deliveries"), "101");
  EXPECT_EQ(audit.figures().rows_lost, 0U);
  EXPECT_EQ(lines_.count("error: "), 1U);  // once, not once an attempt
  EXPECT_EQ(lines_.count("is written again"), 1U);
}

TEST_F(AuditTest, StartsWhileAnotherHoldsTheLock) {
  { Audit audit(options()); }
  Peek other(file_);
  ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  Audit audit(options());
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(eventually([&] { return audit.figures().state == AuditState::locked; }));
  EXPECT_EQ(other.run("COMMIT"), SQLITE_OK);
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(other.value("SELECT count(*) FROM deliveries"), "1");
}

TEST_F(AuditTest, EndsInTimeWhileAnotherHoldsTheLockAndSaysWhatIsLost) {
  Audit audit(options());
  ASSERT_TRUE(eventually([&] { return audit.figures().state == AuditState::ok; }));
  Peek other(file_);
  ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  audit.on_delivery(pushed(now_ms()));
  const auto begin = std::chrono::steady_clock::now();
  audit.stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  EXPECT_EQ(lines_.count("1 row could not be written"), 1U);
  EXPECT_EQ(audit.figures().rows_lost, 1U);
}

TEST_F(AuditTest, BeginsANewFileWhenItsOwnIsDeleted) {
  const auto now = now_ms();
  Audit audit(options());
  audit.on_delivery(pushed(now));
  ASSERT_TRUE(audit.flush(kPatience));
  for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(file_ + part);
  audit.on_delivery(pushed(now + 1));
  ASSERT_TRUE(audit.flush(kPatience));
  Peek peek(file_);
  EXPECT_EQ(peek.value("SELECT group_concat(at) FROM deliveries WHERE outcome = 'pushed'"),
            std::to_string(now + 1));
  EXPECT_EQ(peek.value("SELECT count(*) FROM deliveries WHERE outcome = 'gap'"), "1");
  EXPECT_EQ(lines_.count("was deleted or replaced"), 1U);
}

TEST_F(AuditTest, WritesIntoTheFileThatReplacedItsOwn) {
  const auto now = now_ms();
  const auto other = folder_.file("other.db");
  {
    auto there = options();
    there.file = other;
    Audit audit(there);
    audit.on_delivery(pushed(now - 5));
  }
  Audit audit(options());
  audit.on_delivery(pushed(now));
  ASSERT_TRUE(audit.flush(kPatience));
  std::filesystem::rename(other, file_);
  audit.on_delivery(pushed(now + 1));
  ASSERT_TRUE(audit.flush(kPatience));
  Peek peek(file_);
  EXPECT_EQ(peek.value("SELECT group_concat(at) FROM deliveries WHERE outcome = 'pushed'"),
            std::to_string(now - 5) + "," + std::to_string(now + 1));
  EXPECT_EQ(peek.value("PRAGMA integrity_check"), "ok");
}

TEST_F(AuditTest, AFileThatWasMovedAwayTakesItsRowsAlong) {
  const auto now = now_ms();
  Audit audit(options());
  for (int i = 0; i < 10; ++i) audit.on_delivery(pushed(now + i));
  ASSERT_TRUE(audit.flush(kPatience));
  const auto away = folder_.file("away.db");
  std::filesystem::rename(file_, away);
  audit.on_delivery(pushed(now + 10));
  ASSERT_TRUE(audit.flush(kPatience));
  // A row that was on its way in this moment may be in both, but never in none.
  EXPECT_EQ(Peek(away).value("SELECT count(*) FROM deliveries WHERE at < " +
                             std::to_string(now + 10)),
            "10");
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"), "1");
}

TEST_F(AuditTest, LosesNothingWhenOnlyItsLogIsDeleted) {
  const auto now = now_ms();
  Audit audit(options());
  audit.on_delivery(pushed(now));
  ASSERT_TRUE(audit.flush(kPatience));
  std::filesystem::remove(file_ + "-wal");
  audit.on_delivery(pushed(now + 1));
  ASSERT_TRUE(audit.flush(kPatience));
  Peek peek(file_);
  EXPECT_EQ(peek.value("SELECT count(*) FROM deliveries"), "2");
  EXPECT_EQ(peek.value("PRAGMA integrity_check"), "ok");
  EXPECT_EQ(lines_.count("nothing is lost"), 1U);
}

TEST_F(AuditTest, NeverFollowsALinkThatReplacedItsFile) {
  Audit audit(options());
  ASSERT_TRUE(eventually([&] { return audit.figures().state == AuditState::ok; }));
  std::filesystem::remove(file_);
  std::filesystem::create_symlink(folder_.file("trap"), file_);
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(eventually([&] { return audit.figures().state == AuditState::failed; }));
  EXPECT_THAT(audit.figures().fault, HasSubstr("it is a link"));
  EXPECT_FALSE(std::filesystem::exists(folder_.file("trap")));
  std::filesystem::remove(file_);
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"), "1");
}

TEST_F(AuditTest, SetsAFileAsideThatIsNoDatabase) {
  std::ofstream(file_) << std::string(5000, 'z');
  Audit audit(options());
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));
  std::string aside;
  for (const auto& name : folder_.names()) {
    if (name.starts_with("audit.db.corrupt-")) aside = folder_.file(name);
  }
  ASSERT_NE(aside, "");
  EXPECT_EQ(std::filesystem::file_size(aside), 5000U);
  EXPECT_EQ(lines_.count("it is now " + aside), 1U);
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"), "1");
}

TEST_F(AuditTest, SetsAFileAsideWhosePagesAreDamaged) {
  const auto now = now_ms();
  {
    Audit audit(options());
    for (int i = 0; i < 5000; ++i) audit.on_delivery(pushed(now + i));
  }
  {
    std::fstream damage(file_, std::ios::in | std::ios::out | std::ios::binary);
    for (int page = 8; page < 40; page += 2) {
      damage.seekp(page * 4096);
      damage << std::string(4096, '\x7f');
    }
  }
  Audit audit(options());
  audit.on_delivery(pushed(now));
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(lines_.count("is damaged"), 1U);
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"), "1");
  EXPECT_EQ(Peek(file_).value("PRAGMA integrity_check"), "ok");
}

TEST_F(AuditTest, StopsWritingWhenAReaderThatNeverEndsMakesTheLogGrow) {
  const auto now = now_ms();
  auto bounded = options();
  bounded.max_bytes = 1 << 20;
  Audit audit(bounded);
  audit.on_delivery(pushed(now));
  ASSERT_TRUE(audit.flush(kPatience));
  Peek reader(file_);
  ASSERT_EQ(reader.run("BEGIN; SELECT count(*) FROM deliveries"), SQLITE_OK);
  bool is_held = false;
  for (int i = 0; i < 400'000 && !is_held; ++i) {
    audit.on_delivery(pushed(now + i));
    if (i % 5000 == 0) {
      audit.flush(std::chrono::milliseconds(400));
      is_held = audit.figures().state == AuditState::held;
    }
  }
  EXPECT_TRUE(is_held);
  EXPECT_LT(std::filesystem::file_size(file_ + "-wal"), 128U << 20);
  EXPECT_EQ(reader.run("COMMIT"), SQLITE_OK);
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_TRUE(eventually([&] { return audit.figures().state == AuditState::ok; }));
  EXPECT_EQ(lines_.count("error: "), 1U);
}

}  // namespace
}  // namespace waystation
