#include "audit/audit.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include "unit/audit/audit_files.hpp"

namespace waystation::test {
namespace {

using namespace waystation::test;
using ::testing::HasSubstr;

TEST_F(AuditTest, KeepsARowForEachOutcomeButChat) {
  const auto now = now_ms();
  Audit audit(options());
  audit.on_delivery({Outcome::pushed, now, "alice_bob", "alice", "bob", "m1", 2, 17});
  audit.on_delivery({Outcome::undelivered, now + 1, "", "", "carol", "", 0, 3});
  audit.on_delivery({Outcome::dropped, now + 2, "alice_bob", "bob", "alice", "m3", 0, 9});
  audit.on_delivery({Outcome::chat, now + 3, "alice_bob", "bob", "alice", "m4", 1, 9});  // no row
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(audit.stats().rows_written, 3U);
  Peek peek(file_);
  EXPECT_EQ(peek.value("SELECT group_concat(at || ',' || ifnull(group_name, '-') || ',' || "
                       "ifnull(from_user, '-') || ',' || to_user || ',' || outcome || ',' || "
                       "reached || ',' || bytes || ',' || ifnull(message_id, '-') || ',' || node, "
                       "' ') FROM deliveries"),
            std::to_string(now) + ",alice_bob,alice,bob,pushed,2,17,m1,here " +
                std::to_string(now + 1) + ",-,-,carol,undelivered,0,3,-,here " +
                std::to_string(now + 2) + ",alice_bob,bob,alice,dropped,0,9,m3,here");
}

TEST_F(AuditTest, WritesOnAThreadOfLowPriority) {
  const int before = ::getpriority(PRIO_PROCESS, 0);
  Audit audit(options());
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));  // by now it has begun
  const auto writer = static_cast<id_t>(std::stoul(thread_folder("waystation-db").filename()));
  EXPECT_EQ(::getpriority(PRIO_PROCESS, writer), std::max(before, 10));
  EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), before) << "and no other does";
}

// Rows that take the writer at least 20 ms, and still one batch of them where everything is slow.
constexpr int kRowsOfManyTurns = 4500;
// Far more than other reasons to sleep make.
constexpr int kManySleeps = 60;

/// How often the writer sleeps while it writes so many rows, which all wait when it begins.
int sleeps_for_many_rows(const AuditOptions& options) {
  Audit audit(options);
  EXPECT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  Peek other(options.file);
  EXPECT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  for (int i = 0; i < kRowsOfManyTurns; ++i) audit.on_delivery(pushed(now_ms()));
  EXPECT_TRUE(eventually([&] { return audit.stats().state == AuditState::locked; }));
  const int before = thread_sleeps("waystation-db");
  EXPECT_EQ(other.run("COMMIT"), SQLITE_OK);
  EXPECT_TRUE(eventually([&] { return audit.stats().rows_written == kRowsOfManyTurns; }));
  return thread_sleeps("waystation-db") - before;
}

TEST_F(AuditTest, PausesBetweenPeriodsOfWork) {
  EXPECT_GT(sleeps_for_many_rows(options()), kManySleeps);
}

TEST_F(AuditTest, DoesNotPauseOnceTheQueueFills) {
  auto small = options();
  small.queue_bytes = std::size_t{256} << 10;  // they take nearly all of it
  EXPECT_LT(sleeps_for_many_rows(small), kManySleeps);
}

TEST_F(AuditTest, DoesNotPauseDuringAFlush) {
  auto unhurried = options();
  unhurried.batch_interval = std::chrono::hours(1);  // the flush comes first
  Audit audit(unhurried);
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  const int before = thread_sleeps("waystation-db");
  for (int i = 0; i < kRowsOfManyTurns; ++i) audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_LT(thread_sleeps("waystation-db") - before, kManySleeps);
}

TEST_F(AuditTest, IsWokenByTheFirstRow) {
  auto asleep = options();
  asleep.idle_interval = std::chrono::hours(1);
  Audit audit(asleep);
  ASSERT_TRUE(audit.flush(kPatience));
  for (std::uint64_t rows = 1; rows <= 20; ++rows) {
    audit.on_delivery(pushed(now_ms()));
    ASSERT_TRUE(eventually([&] { return audit.stats().rows_written == rows; }));
  }
}

TEST_F(AuditTest, HasNoColumnForContent) {
  Audit audit(options());
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));
  EXPECT_EQ(Peek(file_).value("SELECT group_concat(name) FROM pragma_table_info('deliveries')"),
            "id,at,group_name,from_user,to_user,outcome,reached,bytes,message_id,node,lost,"
            "lost_until,run,message_key,taken");
}

TEST_F(AuditTest, CreatesAFileThatOnlyItsOwnerCanRead) {
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

TEST_F(AuditTest, RemovesReadPermissionOfOthers) {
  { Audit audit(options()); }
  ASSERT_EQ(::chmod(file_.c_str(), 0644), 0);
  Audit audit(options());
  struct stat status {};
  ASSERT_EQ(::stat(file_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  EXPECT_EQ(lines_.count("its mode is now 0600"), 1U);
}

TEST_F(AuditTest, WritesQueuedRowsBeforeItEnds) {
  const auto now = now_ms();
  {
    auto slow = options();
    slow.batch_interval = std::chrono::hours(1);
    Audit audit(slow);
    for (int i = 0; i < 25'000; ++i) audit.on_delivery(pushed(now + i));
    audit.stop(kPatience);
  }
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries"), "25000");
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM runs WHERE ended_at IS NULL"), "0");
  EXPECT_FALSE(std::filesystem::exists(file_ + "-wal"));
}

TEST_F(AuditTest, CountsRowsThatDoNotFitTheQueueAndRecordsAGap) {
  const auto now = now_ms();
  auto small = options();
  small.queue_bytes = 4096;
  small.batch_interval = std::chrono::hours(1);
  std::uint64_t lost = 0;
  {
    Audit audit(small);
    // From then on it gathers for an hour; what came sooner would be written at once.
    ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
    for (int i = 0; i < 1000; ++i) audit.on_delivery(pushed(now + i));
    lost = audit.stats().rows_lost;
    EXPECT_GT(lost, 500U);
    ASSERT_TRUE(audit.flush(kPatience));
  }
  Peek peek(file_);
  EXPECT_EQ(peek.value("SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"),
            std::to_string(1000 - lost));
  EXPECT_EQ(peek.value("SELECT lost || ' ' || (at - " + std::to_string(now) +
                       ") || ' ' || "
                       "(lost_until - " +
                       std::to_string(now) +
                       ") FROM deliveries "
                       "WHERE outcome = 'gap'"),
            std::to_string(lost) + " " + std::to_string(1000 - lost) + " 999");
}

TEST_F(AuditTest, AKilledRunLeavesAGapOfUnknownSize) {
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
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  Peek peek(file_);
  EXPECT_EQ(peek.value("SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"), "1");
  EXPECT_EQ(peek.value("SELECT (at >= " + std::to_string(now) +
                       ") || ifnull(lost, 'unknown') "
                       "FROM deliveries WHERE outcome = 'gap'"),
            "1unknown");
  EXPECT_EQ(lines_.count("did not end cleanly"), 1U);
}

TEST_F(AuditTest, TheGapOfAKilledRunBeginsWithTheLastRowOfItsNode) {
  const auto of = [this](const char* node) {
    auto one = options();
    one.node = node;
    return one;
  };
  // A row that is later than whatever was before, by a millisecond at least.
  const auto row = [] {
    const auto before = now_ms();
    if (!eventually([&] { return now_ms() > before; })) std::abort();
    return pushed(now_ms());
  };
  const pid_t child = ::fork();
  if (child == 0) {
    Audit audit(of("a"));
    audit.on_delivery(row());
    if (!audit.flush(kPatience)) ::_exit(1);
    ::_exit(0);  // without an end
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  // Another node continued, and records no gap for the first one.
  {
    Audit other(of("b"));
    other.on_delivery(row());
    ASSERT_TRUE(other.flush(kPatience));
  }
  { Audit audit(of("a")); }
  Peek peek(file_);
  EXPECT_EQ(
      peek.value("SELECT group_concat(node || ' ' || at) FROM deliveries WHERE outcome = 'gap'"),
      "a " + peek.value("SELECT at FROM deliveries WHERE outcome <> 'gap' AND node = 'a'"));
}

TEST_F(AuditTest, ARunWhoseThreadCannotStartLeavesNoGap) {
  // Stacks larger than any address space.
  pthread_attr_t usual;
  ASSERT_EQ(pthread_getattr_default_np(&usual), 0);
  pthread_attr_t impossible = usual;
  ASSERT_EQ(pthread_attr_setstacksize(&impossible, std::size_t{1} << 60), 0);
  ASSERT_EQ(pthread_setattr_default_np(&impossible), 0);
  EXPECT_THROW(Audit audit(options()), std::system_error);
  ASSERT_EQ(pthread_setattr_default_np(&usual), 0);
  pthread_attr_destroy(&usual);
  EXPECT_THAT(folder_.names(), ::testing::ElementsAre("audit.db"));
  { Audit audit(options()); }
  EXPECT_EQ(count("outcome = 'gap'"), "0");
}

TEST_F(AuditTest, ARunThatEndedNormallyLeavesNoGap) {
  {
    Audit ended(options());
    ended.stop(kPatience);
  }
  Audit audit(options());
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  EXPECT_EQ(Peek(file_).value("SELECT count(*) FROM deliveries"), "0");
  EXPECT_TRUE(lines_.all().empty());
}

// ---- retention

TEST_F(AuditTest, DeletesRowsOlderThanRetention) {
  const auto now = now_ms();
  const std::int64_t day = 86'400'000;
  {
    auto for_ever = options();
    for_ever.retention_days = 0;
    Audit audit(for_ever);
    for (int i = 0; i < 3000; ++i) audit.on_delivery(pushed(now - 31 * day + i));
    for (int i = 0; i < 10; ++i) audit.on_delivery(pushed(now - 29 * day + i));
    audit.stop(kPatience);
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
  // The newest rows are there, as many as fit.
  EXPECT_EQ(peek.value("SELECT max(at) FROM deliveries"), std::to_string(now + 59'999));
  EXPECT_GT(std::stoll(peek.value("SELECT count(*) FROM deliveries")), 5000);
  EXPECT_EQ(peek.value("SELECT count(*) = max(at) - min(at) + 1 FROM deliveries"), "1");
  EXPECT_EQ(audit.stats().rows_lost, 0U);
}

TEST_F(AuditTest, ShrinksTheFileWhenItsMaximumIsLowered) {
  const auto now = now_ms();
  Audit audit(options());
  for (int i = 0; i < 30'000; ++i) audit.on_delivery(pushed(now + i));
  ASSERT_TRUE(audit.flush(kPatience));
  constexpr std::uint64_t kMax = 1 << 20;
  audit.set_retention(30, kMax);
  const auto on_disk = [&] {
    return std::filesystem::file_size(file_) + std::filesystem::file_size(file_ + "-wal");
  };
  EXPECT_TRUE(eventually([&] { return on_disk() <= kMax; }));
  EXPECT_TRUE(eventually([&] { return audit.stats().file_bytes == on_disk(); }));
  EXPECT_EQ(Peek(file_).value("PRAGMA integrity_check"), "ok");
}

TEST_F(AuditTest, CheckpointsTheWalWhenIdle) {
  Audit audit(options());
  for (int i = 0; i < 100; ++i) audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));
  // A copy of the file without its WAL has them.
  const auto copy = folder_.file("copy.db");
  EXPECT_TRUE(eventually([&] {
    std::filesystem::copy_file(file_, copy, std::filesystem::copy_options::overwrite_existing);
    return Peek(copy).value("SELECT count(*) FROM deliveries") == "100";
  }));
  EXPECT_TRUE(eventually([&] { return std::filesystem::file_size(file_ + "-wal") == 0; }));
}

// ---- what is refused

TEST_F(AuditTest, RefusesALink) {
  std::filesystem::create_symlink(folder_.file("elsewhere"), file_);
  try {
    Audit audit(options());
    FAIL();
  } catch (const AuditRefused& refused) {
    EXPECT_THAT(refused.what(), HasSubstr("a link"));
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

TEST_F(AuditTest, RefusesANewerVersionThatIsOnlyInTheWal) {
  ASSERT_EQ(Peek(file_).run("PRAGMA journal_mode = WAL; CREATE TABLE t (x)"), SQLITE_OK);
  // A process that ends without closing leaves its WAL.
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
  EXPECT_THAT(folder_.names(), ::testing::Each(::testing::Not(HasSubstr("run-"))));
}

TEST_F(AuditTest, RefusesADatabaseOfAnotherProgram) {
  Peek(file_).run("CREATE TABLE theirs (x)");
  try {
    Audit audit(options());
    FAIL();
  } catch (const AuditRefused& refused) {
    EXPECT_THAT(refused.what(), HasSubstr("a database of another program"));
  }
  EXPECT_EQ(Peek(file_).value("SELECT group_concat(name) FROM sqlite_schema"), "theirs");
}

TEST_F(AuditTest, RefusesAFileThatIsNoDatabaseAndLeavesItUntouched) {
  // The second is shorter than a header, and the third than a page.
  for (const auto& text : {std::string(5000, 'z'), std::string("z"), std::string(100, '\0')}) {
    std::ofstream(file_) << text;
    ASSERT_EQ(::chmod(file_.c_str(), 0640), 0);
    try {
      Audit audit(options());
      ADD_FAILURE() << text.size();
    } catch (const AuditRefused& refused) {
      EXPECT_THAT(refused.what(), HasSubstr("it is not an SQLite database; name another file"));
    }
    std::ifstream in(file_, std::ios::binary);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), text);
    struct stat status {};
    ASSERT_EQ(::stat(file_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0640U);
    EXPECT_THAT(folder_.names(), ::testing::ElementsAre("audit.db"));
  }
}

TEST_F(AuditTest, StartsWithAnEmptyFile) {
  std::ofstream(file_).flush();
  EXPECT_NO_THROW(Audit audit(options()));
}

TEST_F(AuditTest, KeepsTheModeOfADatabaseOfAnotherProgram) {
  // One file with its tables, and one whose tables are only in the WAL.
  for (const bool is_in_log : {false, true}) {
    for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(file_ + part);
    Peek theirs(file_);
    if (is_in_log) theirs.run("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0");
    theirs.run("CREATE TABLE theirs (x)");
    ASSERT_EQ(::chmod(file_.c_str(), 0664), 0);
    if (!is_in_log) {
      EXPECT_THROW(Audit::check(file_), AuditRefused);
    }
    EXPECT_THROW(Audit audit(options()), AuditRefused) << is_in_log;
    struct stat status {};
    ASSERT_EQ(::stat(file_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0664U) << is_in_log;
  }
}

}  // namespace
}  // namespace waystation::test
