// The audit with faults of the disk, the folder and other processes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <future>

#include "audit/audit.hpp"
#include "audit/audit_prune.hpp"
#include "support/memory.hpp"
#include "unit/audit/audit_files.hpp"
#include "unit/audit/sqlite_hook.hpp"

namespace waystation::test {
namespace {

using namespace waystation::test;
using ::testing::HasSubstr;

using AuditFaultsTest = AuditTest;

TEST_F(AuditFaultsTest, WaitsForTheLockOfAnotherProgramWithoutLosingARow) {
  const auto now = now_ms();
  Audit audit(options());
  audit.on_delivery(pushed(now));
  ASSERT_TRUE(audit.flush(kPatience));
  Peek other(file_);
  ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  for (int i = 1; i <= 100; ++i) audit.on_delivery(pushed(now + i));
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::locked; }));
  EXPECT_EQ(audit.stats().rows_waiting, 100U);
  ASSERT_TRUE(eventually([&] { return audit.stats().lag_ms > 600; }));  // several attempts
  EXPECT_EQ(other.run("COMMIT"), SQLITE_OK);
  ASSERT_TRUE(audit.flush(kPatience));
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  EXPECT_EQ(other.value("SELECT count(*) FROM deliveries"), "101");
  EXPECT_EQ(audit.stats().rows_lost, 0U);
  EXPECT_EQ(lines_.count("error: "), 1U);  // once, not at each attempt
  EXPECT_EQ(lines_.count("is written again"), 1U);
}

TEST_F(AuditFaultsTest, StartsWhileAnotherProgramHoldsTheLock) {
  { Audit audit(options()); }
  Peek other(file_);
  ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  Audit audit(options());
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::locked; }));
  EXPECT_EQ(other.run("COMMIT"), SQLITE_OK);
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(other.value("SELECT count(*) FROM deliveries"), "1");
}

TEST_F(AuditFaultsTest, EndsWhileAnotherProgramHoldsTheLockAndLogsTheLoss) {
  Audit audit(options());
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  Peek other(file_);
  ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  audit.on_delivery(pushed(now_ms()));
  audit.stop(std::chrono::milliseconds(300));
  EXPECT_EQ(lines_.count("1 row could not be written"), 1U);
  EXPECT_EQ(audit.stats().rows_lost, 1U);
}

TEST_F(AuditFaultsTest, WaitsAtItsEndForALockThatIsReleased) {
  Audit audit(options());
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  Peek other(file_);
  ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  audit.on_delivery(pushed(now_ms()));
  auto stopped = std::async(std::launch::async, [&] { audit.stop(kPatience); });
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::locked; }));
  EXPECT_EQ(other.run("COMMIT"), SQLITE_OK);
  stopped.get();
  EXPECT_EQ(audit.stats().rows_lost, 0U);
  EXPECT_EQ(count(), "1");
}

TEST_F(AuditFaultsTest, DoesNotBlockOnAPipeInPlaceOfItsFile) {
  Audit audit(options());
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(file_ + part);
  ASSERT_EQ(::mkfifo(file_.c_str(), 0600), 0);
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::failed; }));
  EXPECT_THAT(audit.health().fault, HasSubstr("not a file"));
  std::filesystem::remove(file_);
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(count(), "1");
}

TEST_F(AuditFaultsTest, CreatesANewFileWhenItsFileIsDeleted) {
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
  // All rows of the lost file may be missing.
  EXPECT_EQ(peek.value("SELECT count(*) FROM deliveries WHERE outcome = 'gap' AND lost IS NULL AND "
                       "at < " +
                       std::to_string(now - 29 * 86'400'000LL) +
                       " AND lost_until >= " + std::to_string(now)),
            "1");
  EXPECT_EQ(lines_.count("was deleted or replaced"), 1U);
}

TEST_F(AuditFaultsTest, WritesIntoTheFileThatReplacedItsFile) {
  const auto now = now_ms();
  const auto other = folder_.file("other.db");
  {
    auto there = options();
    there.file = other;
    Audit audit(there);
    audit.on_delivery(pushed(now - 5));
    audit.stop(kPatience);
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

TEST_F(AuditFaultsTest, KeepsTheRowsOfAMovedFileInThatFile) {
  Audit audit(options());
  ASSERT_TRUE(audit.flush(kPatience));
  const int rows = fill_wal(audit);  // which stays where it was
  const auto away = folder_.file("away.db");
  std::filesystem::rename(file_, away);
  audit.on_delivery(pushed(now_ms(), "carol", "dave", "carol_dave"));
  ASSERT_TRUE(audit.flush(kPatience));
  // A row that is committed at this moment may be in both files, but is in at least one.
  EXPECT_EQ(Peek(away).value("SELECT count(*) FROM deliveries WHERE to_user = 'bob'"),
            std::to_string(rows));
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"), "1");
}

TEST_F(AuditFaultsTest, LosesNothingWhenOnlyItsWalIsDeleted) {
  const auto now = now_ms();
  Audit audit(options());
  audit.on_delivery(pushed(now));
  ASSERT_TRUE(audit.flush(kPatience));
  std::filesystem::remove(file_ + "-wal");
  audit.on_delivery(pushed(now + 1));
  ASSERT_TRUE(audit.flush(kPatience));
  // The row may still have gone into the old log; until that is in the file, no other can read it.
  ASSERT_TRUE(eventually([&] { return lines_.count("nothing is lost") == 1; }));
  Peek peek(file_);
  EXPECT_EQ(peek.value("SELECT count(*) FROM deliveries"), "2");
  EXPECT_EQ(peek.value("PRAGMA integrity_check"), "ok");
}

TEST_F(AuditFaultsTest, LosesNothingWhenItsWalIsDeletedWhileAnotherProgramReads) {
  Audit audit(options());
  ASSERT_TRUE(audit.flush(kPatience));
  Peek idle(file_);
  ASSERT_EQ(idle.value("SELECT count(*) FROM deliveries"), "0");
  const int rows = fill_wal(audit);
  std::filesystem::remove(file_ + "-wal");
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));
  ASSERT_TRUE(eventually([&] { return lines_.count("nothing is lost") == 1; }));  // as above
  EXPECT_EQ(count(), std::to_string(rows + 1));
  EXPECT_EQ(audit.stats().state, AuditState::ok);
  EXPECT_EQ(Peek(file_).value("PRAGMA integrity_check"), "ok");
}

// A process that opens the file then creates a new index, and two writers do not see each other.
TEST_F(AuditFaultsTest, LosesNothingWhenTheIndexOfItsWalIsDeleted) {
  Audit audit(options());
  ASSERT_TRUE(audit.flush(kPatience));
  const int rows = fill_wal(audit);
  std::filesystem::remove(file_ + "-shm");
  audit.on_delivery(pushed(now_ms(), "carol", "dave", "carol_dave"));
  ASSERT_TRUE(eventually([&] { return lines_.count("nothing is lost") == 1; }));
  ASSERT_TRUE(audit.flush(kPatience));
  AuditFilter filter;
  filter.user = "carol";
  EXPECT_EQ(prune_audit(file_, filter), 1U);
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(count(), std::to_string(rows + 1));
  EXPECT_EQ(Peek(file_).value("PRAGMA integrity_check"), "ok");
}

TEST_F(AuditFaultsTest, RecreatesADeletedRunFile) {
  auto often = options();
  often.idle_interval = std::chrono::milliseconds(10);
  Audit audit(often);
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  std::filesystem::remove(file_ + ".run-here");
  // The file may exist a moment before its lock.
  EXPECT_TRUE(eventually([&] {
    try {
      const Audit second(options());
      return false;
    } catch (const AuditRefused&) {
      return true;
    }
  }));
}

TEST_F(AuditFaultsTest, KeepsADeletedWalUntilABlockingReaderEnds) {
  Audit audit(options());
  ASSERT_TRUE(audit.flush(kPatience));
  int rows = fill_wal(audit);
  Peek reader(file_);
  ASSERT_EQ(reader.run("BEGIN; SELECT count(*) FROM deliveries"), SQLITE_OK);
  rows += fill_wal(audit);
  std::filesystem::remove(file_ + "-wal");
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::locked; }));
  EXPECT_EQ(lines_.count("nothing is lost"), 0U);
  EXPECT_EQ(reader.run("COMMIT"), SQLITE_OK);
  ASSERT_TRUE(eventually([&] { return lines_.count("nothing is lost") == 1; }));
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(count(), std::to_string(rows + 1));
}

/// Ten rows, for whose commit the hook is called.
void write_ten_rows(Audit& audit, const CommitHook& hook) {
  ASSERT_TRUE(audit.flush(kPatience));
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  hook.arm();
  for (int i = 0; i < 10; ++i) audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));
  ASSERT_TRUE(hook.was_called());
}

TEST_F(AuditFaultsTest, WritesRowsOnceIfTheWalIsDeletedDuringTheirCommit) {
  const CommitHook hook([this] { std::filesystem::remove(file_ + "-wal"); });
  Audit audit(options());
  write_ten_rows(audit, hook);
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(count(), "11");
  EXPECT_EQ(audit.stats().rows_written, 11U);
}

TEST_F(AuditFaultsTest, WritesRowsAgainIfTheFileIsDeletedDuringTheirCommit) {
  const CommitHook hook([this] {
    for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(file_ + part);
  });
  Audit audit(options());
  write_ten_rows(audit, hook);
  EXPECT_EQ(count(), "10");
}

TEST_F(AuditFaultsTest, ARunThatNeverOpenedTheFileLeavesAGap) {
  { Audit audit(options()); }
  const auto now = now_ms();
  {
    Peek other(file_);
    ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
    Audit audit(options());
    for (int i = 0; i < 3; ++i) audit.on_delivery(pushed(now_ms()));
    ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::locked; }));
    audit.stop();
    EXPECT_EQ(audit.stats().rows_lost, 3U);
    EXPECT_EQ(other.run("ROLLBACK"), SQLITE_OK);
    EXPECT_TRUE(std::filesystem::exists(file_ + ".run-here"));
  }
  const auto later = now_ms();
  {
    Audit audit(options());
    audit.stop(kPatience);
  }
  EXPECT_EQ(
      count("outcome = 'gap' AND lost IS NULL AND at >= " + std::to_string(now - 1) +
            " AND at <= " + std::to_string(later) + " AND lost_until >= " + std::to_string(later)),
      "1");
  EXPECT_THAT(folder_.names(), ::testing::ElementsAre("audit.db"));
  { Audit audit(options()); }
  EXPECT_EQ(count("outcome = 'gap'"), "1");  // recorded once
}

TEST_F(AuditFaultsTest, ALostFileIsAGapEvenIfOnlyALaterRunOpensTheNext) {
  {
    Audit audit(options());
    audit.on_delivery(pushed(now_ms()));
    ASSERT_TRUE(audit.flush(kPatience));
    for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(file_ + part);
    std::filesystem::create_directory(file_);
    ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::failed; }));
  }
  std::filesystem::remove(file_);
  { Audit audit(options()); }
  EXPECT_EQ(count("outcome = 'gap' AND at < " + std::to_string(now_ms() - 29 * 86'400'000LL)), "1");
}

TEST_F(AuditFaultsTest, RefusesASecondRunOfTheSameNodeOnly) {
  Audit first(options());
  try {
    Audit second(options());
    FAIL();
  } catch (const AuditRefused& refused) {
    EXPECT_THAT(refused.what(), HasSubstr("another program is writing it as node here"));
  }
  auto other = options();
  other.node = "there";
  {
    Audit second(other);
    second.on_delivery(pushed(now_ms()));
    EXPECT_TRUE(second.flush(kPatience));
  }
  first.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(first.flush(kPatience));
  EXPECT_EQ(count(), "2");
  EXPECT_EQ(count("outcome = 'gap'"), "0");
}

TEST_F(AuditFaultsTest, ReportsTheAgeOfTheOldestWaitingRowDuringAFault) {
  { Audit audit(options()); }
  Peek other(file_);
  ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  Audit audit(options());
  audit.on_delivery(pushed(now_ms() - 60'000));
  audit.on_delivery(pushed(now_ms()));
  EXPECT_TRUE(eventually([&] { return audit.stats().lag_ms >= 60'000; }));
  EXPECT_EQ(other.run("COMMIT"), SQLITE_OK);
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(audit.stats().lag_ms, 0U);
}

TEST_F(AuditFaultsTest, EndsAtItsDeadlineAndCountsTheRest) {
  constexpr std::uint64_t kRows = 100'000;
  auto slow = options();
  slow.batch_interval = std::chrono::hours(1);
  Audit audit(slow);
  ASSERT_TRUE(audit.flush(kPatience));
  for (std::uint64_t i = 0; i < kRows; ++i) audit.on_delivery(pushed(now_ms()));
  audit.stop(std::chrono::milliseconds(0));
  const auto stats = audit.stats();
  EXPECT_GT(stats.rows_lost, 0U);
  EXPECT_EQ(count(), std::to_string(kRows - stats.rows_lost));
  EXPECT_EQ(lines_.count("could not be written before the end"), 1U);
  { Audit next(options()); }
  EXPECT_EQ(count("outcome = 'gap' AND lost IS NULL"), "1");
}

TEST_F(AuditFaultsTest, AFileSizeLimitDoesNotKillTheProcess) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_DFL);
    const rlimit limit{.rlim_cur = 200 * 1024, .rlim_max = RLIM_INFINITY};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(3);
    Audit audit(options());
    for (int i = 0; i < 20'000; ++i) audit.on_delivery(pushed(now_ms()));
    const bool is_full = eventually([&] { return audit.stats().state == AuditState::disk_full; });
    audit.stop();
    ::_exit(is_full ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  // Nor a fault during the construction of the audit.
  const pid_t other = ::fork();
  if (other == 0) {
    std::signal(SIGXFSZ, SIG_DFL);
    const rlimit limit{.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(3);
    Audit audit(options());
    audit.stop();
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_EQ(status, 0);
}

TEST_F(AuditFaultsTest, WaitsForMemoryWithoutLosingARow) {
  Audit audit(options());
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  {
    const NoMemoryForOthers nothing_left;
    audit.on_delivery(pushed(now_ms()));
    EXPECT_TRUE(eventually([&] { return audit.stats().state == AuditState::failed; }));
  }
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  EXPECT_EQ(count(), "1");
}

TEST_F(AuditFaultsTest, NeverFollowsALinkThatReplacedItsFile) {
  Audit audit(options());
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  std::filesystem::remove(file_);
  std::filesystem::create_symlink(folder_.file("trap"), file_);
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::failed; }));
  EXPECT_THAT(audit.health().fault, HasSubstr("a link"));
  EXPECT_FALSE(std::filesystem::exists(folder_.file("trap")));
  // The stats show the current fault, not the first one.
  std::filesystem::remove(file_);
  std::filesystem::create_directory(file_);
  EXPECT_TRUE(
      eventually([&] { return audit.health().fault.find("not a file") != std::string::npos; }));
  std::filesystem::remove(file_);
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"), "1");
}

TEST_F(AuditFaultsTest, SetsAsideAFileThatIsNoDatabaseAfterACrash) {
  // Any node may have crashed while it wrote the file.
  for (const std::string trace : {"-wal", ".run-elsewhere"}) {
    const Folder folder;
    const auto file = folder.file("audit.db");
    std::ofstream(file) << std::string(5000, 'z');
    std::ofstream(file + trace).flush();
    EXPECT_NO_THROW(Audit::check(file)) << trace;
  }
  std::ofstream(file_) << std::string(5000, 'z');
  std::ofstream(file_ + ".run-here").flush();
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

TEST_F(AuditFaultsTest, SetsAsideNoSecondFileIfTheDiskDamagesEachNewOne) {
  const auto damaged = [this] {
    std::ofstream(folder_.file("damaged")) << std::string(5000, 'z');
    std::filesystem::rename(folder_.file("damaged"), file_);
  };
  const auto aside = [this] {
    return std::ranges::count_if(folder_.names(), [](const std::string& name) {
      return name.starts_with("audit.db.corrupt-") && !name.ends_with("-wal") &&
             !name.ends_with("-shm");
    });
  };
  damaged();
  std::ofstream(file_ + ".run-here").flush();
  Audit audit(options());
  ASSERT_TRUE(audit.flush(kPatience));
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  EXPECT_EQ(aside(), 1);
  damaged();
  audit.on_delivery(pushed(now_ms()));
  EXPECT_TRUE(eventually([&] { return audit.stats().state == AuditState::failed; }));
  EXPECT_THAT(audit.health().fault, HasSubstr("not a database"));
  EXPECT_EQ(aside(), 1);
  EXPECT_EQ(audit.stats().rows_waiting, 1U);
}

TEST_F(AuditFaultsTest, SetsAsideAFileWithDamagedPages) {
  const auto now = now_ms();
  {
    Audit audit(options());
    for (int i = 0; i < 5000; ++i) audit.on_delivery(pushed(now + i));
    audit.stop(kPatience);
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
  EXPECT_EQ(
      count("outcome = 'gap' AND lost IS NULL AND at < " + std::to_string(now - 29 * 86'400'000LL)),
      "1");
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"), "1");
  EXPECT_EQ(Peek(file_).value("PRAGMA integrity_check"), "ok");
}

TEST_F(AuditFaultsTest, SetsAsideAFileWithDamageInPagesThatNobodyWrites) {
  const auto now = now_ms();
  {
    Audit audit(options());
    for (int i = 0; i < 5000; ++i) audit.on_delivery(pushed(now + i));
    audit.stop(kPatience);
  }
  {
    std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
    const auto pages = static_cast<std::streamoff>(std::filesystem::file_size(file_) / 4096);
    std::vector<std::streamoff> with_rows;  // a leaf of a table begins with 13
    for (std::streamoff page = 1; page < pages; ++page) {
      file.seekg(page * 4096);
      if (file.get() == 13) with_rows.push_back(page);
    }
    ASSERT_GT(with_rows.size(), 20U);
    file.seekp(with_rows[with_rows.size() / 2] * 4096);
    file << std::string(4096, '\x7f');
  }
  Audit audit(options());
  audit.on_delivery(pushed(now));
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(lines_.count("is damaged"), 1U);
  EXPECT_EQ(count(), "1");
}

TEST_F(AuditFaultsTest, StopsWritingIfAnEndlessReaderMakesTheWalGrow) {
  const auto now = now_ms();
  auto bounded = options();
  bounded.max_bytes = 1 << 20;
  bounded.wal_bytes = 20 << 20;
  Audit audit(bounded);
  audit.on_delivery(pushed(now));
  ASSERT_TRUE(audit.flush(kPatience));
  Peek reader(file_);
  ASSERT_EQ(reader.run("BEGIN; SELECT count(*) FROM deliveries"), SQLITE_OK);
  bool is_held = false;
  for (int i = 0; i < 2'000'000 && !is_held; ++i) {
    audit.on_delivery(pushed(now + i));
    if (i % 5000 == 0) {
      audit.flush(std::chrono::seconds(2));
      is_held = audit.stats().state == AuditState::blocked;
    }
  }
  EXPECT_TRUE(is_held);
  EXPECT_LT(std::filesystem::file_size(file_ + "-wal"), 64U << 20);
  EXPECT_EQ(reader.run("COMMIT"), SQLITE_OK);
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  EXPECT_EQ(lines_.count("error: "), 1U);
}

}  // namespace
}  // namespace waystation::test
