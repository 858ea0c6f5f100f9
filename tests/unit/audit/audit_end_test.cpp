// The audit's writer under load: its end, and retention.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "audit/audit.hpp"
#include "unit/audit/audit_files.hpp"

namespace waystation::test {
namespace {

using namespace waystation::test;

/// Another connection holds the file's lock, and the writer sleeps until the end. It then finds all
/// the work at once.
class AuditEndTest : public AuditTest {
 protected:
  static constexpr std::uint64_t kRows = 3000;
  static constexpr std::uint64_t kManyOld = 60'000;
  const std::int64_t too_old_ = now_ms() - 31 * 86'400'000LL;

  AuditOptions unbounded() {
    auto options = this->options();
    options.retention_days = 0;
    options.max_bytes = 0;
    options.retry_interval = std::chrono::hours(1);
    return options;
  }
  AuditOptions retiring() {
    auto options = unbounded();
    options.retention_days = 30;
    return options;
  }
  /// A file with many old rows. The writer deletes them in several steps, with a pause after each.
  void fill_with_old_rows() {
    { Audit audit(unbounded()); }
    ASSERT_EQ(Peek(file_).run(
                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
                  std::to_string(kManyOld) +
                  ") INSERT INTO deliveries (at, group_name, from_user, to_user, outcome, "
                  "reached, bytes, node) SELECT " +
                  std::to_string(too_old_) +
                  ", 'alice_bob', 'alice', 'bob', 'pushed', 1, 5, 'here' FROM n"),
              SQLITE_OK);
  }
  /// Reports new rows, and stops the audit within `deadline` after `other` released the lock.
  static void tell_and_stop(Audit& audit, Peek& other, std::chrono::milliseconds deadline) {
    ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::locked; }));
    for (std::uint64_t i = 0; i < kRows; ++i) audit.on_delivery(pushed(now_ms()));
    ASSERT_EQ(other.run("COMMIT"), SQLITE_OK);
    audit.stop(deadline);
  }
  /// Takes the lock during retention by age, while many old rows are left. Returns their number.
  std::uint64_t lock_while_retiring(Peek& other) {
    const auto left = [&] { return std::stoull(other.value("SELECT count(*) FROM deliveries")); };
    EXPECT_TRUE(eventually([&] { return left() < kManyOld; }));
    EXPECT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
    EXPECT_GT(left(), 3 * kRows);
    return left();
  }
};

TEST_F(AuditEndTest, StopsAtItsDeadlineWhileAFullFileDropsRows) {
  Audit audit(unbounded());
  for (int i = 0; i < 20'000; ++i) audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));
  Peek other(file_);
  ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  audit.on_delivery(pushed(now_ms()));
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::locked; }));
  audit.set_retention(0, 64 * 1024);
  tell_and_stop(audit, other, std::chrono::milliseconds(0));
  const auto lost = audit.stats().rows_lost;
  EXPECT_GT(lost, 0U);
  EXPECT_EQ(count(), std::to_string(20'001 + kRows - lost)) << "there was no time to take any out";
}

TEST_F(AuditEndTest, StopsAtItsDeadlineWhileItDeletesOldRows) {
  fill_with_old_rows();
  Audit audit(retiring());
  Peek other(file_);
  const auto left = lock_while_retiring(other);
  tell_and_stop(audit, other, std::chrono::milliseconds(0));
  const auto lost = audit.stats().rows_lost;
  EXPECT_GT(lost, 0U);
  EXPECT_EQ(count(), std::to_string(left + kRows - lost)) << "there was no time to take any out";
}

TEST_F(AuditEndTest, RetentionByAgeKeepsPaceWithNewRows) {
  fill_with_old_rows();
  Audit audit(retiring());
  Peek other(file_);
  const auto left = lock_while_retiring(other);
  tell_and_stop(audit, other, kPatience);
  EXPECT_EQ(audit.stats().rows_lost, 0U);
  // Two for each that came; one step of retention, which makes its way when nothing comes, is less.
  const auto old = std::stoull(count("at = " + std::to_string(too_old_)));
  EXPECT_LE(old, left - 2 * kRows);
}

}  // namespace
}  // namespace waystation::test
