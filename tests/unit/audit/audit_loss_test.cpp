// Gaps for rows that do not fit the queue, while more rows arrive at full speed.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "audit/audit.hpp"
#include "unit/audit/audit_files.hpp"
#include "unit/audit/sqlite_hook.hpp"

namespace waystation::test {
namespace {

using namespace waystation::test;

/// Rows at intervals of one millisecond, so that the time of a row identifies it.
class AuditLossTest : public AuditTest {
 protected:
  struct Gap {
    std::int64_t since, until, lost;
  };

  AuditOptions small() {
    auto small = options();
    small.queue_bytes = 4096;
    small.batch_interval = std::chrono::milliseconds(1);
    return small;
  }

  /// The first columns of the rows of a query, as numbers.
  std::vector<std::int64_t> numbers(const std::string& columns, const std::string& where) {
    std::istringstream text(Peek(file_).value("SELECT group_concat(" + columns +
                                              ", ' ') FROM (SELECT * FROM deliveries WHERE " +
                                              where + " ORDER BY id)"));
    std::vector<std::int64_t> numbers;
    for (std::int64_t number = 0; text >> number;) numbers.push_back(number);
    return numbers;
  }
  std::vector<std::int64_t> written(std::int64_t from) {
    auto written = numbers("at", "outcome = 'pushed' AND at >= " + std::to_string(from));
    std::ranges::sort(written);
    return written;
  }
  std::vector<Gap> gaps(std::int64_t from) {
    const auto flat = numbers("at || ' ' || lost_until || ' ' || lost",
                              "outcome = 'gap' AND lost_until >= " + std::to_string(from));
    std::vector<Gap> gaps;
    for (std::size_t i = 0; i + 2 < flat.size(); i += 3) {
      gaps.push_back({flat[i], flat[i + 1], flat[i + 2]});
    }
    return gaps;
  }

  /// Of the rows from `from` on that were not written, the one with so many before it.
  static std::int64_t missing(const std::vector<std::int64_t>& written, std::int64_t from,
                              std::int64_t index) {
    auto at = from + index;
    for (const auto row : written) at += row <= at ? 1 : 0;
    return at;
  }

  /// Tells rows from `from` on, at full speed, until many batches were written meanwhile; the time
  /// of the row that would be the next.
  static std::int64_t tell_many(Audit& audit, std::int64_t from) {
    constexpr std::uint64_t kMany = 1000;  // the queue holds some sixty
    const auto enough = audit.stats().rows_written + kMany;
    std::atomic<bool> is_enough = false;
    std::int64_t next = from;
    std::thread relay([&] {
      while (!is_enough.load(std::memory_order_relaxed)) audit.on_delivery(pushed(next++));
    });
    EXPECT_TRUE(eventually([&] { return audit.stats().rows_written >= enough; }));
    is_enough = true;
    relay.join();
    return next;
  }
};

TEST_F(AuditLossTest, EveryRowIsWrittenOrCountedAndGapsSayWhenTheyAreMissing) {
  Audit audit(small());
  std::int64_t told = 0;
  std::int64_t lost = 0;
  const auto begin = now_ms();
  for (int burst = 0; burst < 5; ++burst) {
    const auto from = begin + told;
    const auto end = tell_many(audit, from);
    told = end - begin;
    ASSERT_TRUE(audit.flush(kPatience));

    const auto rows = written(from);
    const auto gaps = this->gaps(from);
    ASSERT_GT(gaps.size(), 1U);
    std::int64_t counted = 0;
    for (const auto& gap : gaps) {
      ASSERT_GT(gap.lost, 0);
      // Its range is exactly the rows that it counts.
      EXPECT_EQ(gap.since, missing(rows, from, counted));
      counted += gap.lost;
      EXPECT_EQ(gap.until, missing(rows, from, counted - 1));
    }
    EXPECT_EQ(static_cast<std::int64_t>(rows.size()) + counted, end - from);
    lost += counted;
    EXPECT_EQ(audit.stats().rows_lost, static_cast<std::uint64_t>(lost));
    EXPECT_EQ(audit.stats().rows_written, static_cast<std::uint64_t>(told - lost));
  }
}

TEST_F(AuditLossTest, RowsLostDuringTheLastCommitGetASeparateGap) {
  const auto now = now_ms();
  Audit* audit = nullptr;
  // The queue keeps them until they are committed, and is full.
  const CommitHook hook([&] {
    for (int i = 0; i < 3; ++i) audit->on_delivery(pushed(now + 1000));
  });
  auto gathering = small();
  gathering.batch_interval = std::chrono::hours(1);
  Audit full(gathering);
  audit = &full;
  // From then on it gathers for an hour; what came sooner would be written at once.
  ASSERT_TRUE(eventually([&] { return full.stats().state == AuditState::ok; }));
  while (full.stats().rows_lost == 0) full.on_delivery(pushed(now));
  hook.arm();
  ASSERT_TRUE(full.flush(kPatience));
  ASSERT_TRUE(hook.was_called());
  ASSERT_TRUE(full.flush(kPatience));  // exactly these rows
  const auto gaps = this->gaps(now);
  ASSERT_EQ(gaps.size(), 2U);
  EXPECT_EQ(gaps[0].lost, 1);
  EXPECT_EQ(gaps[1].lost, 3);
  EXPECT_EQ(gaps[1].until, now + 1000);
  EXPECT_EQ(full.stats().rows_lost, 4U);
}

TEST_F(AuditLossTest, EachOfTwoNodesCountsItsOwnRows) {
  auto options = small();
  options.node = "a";
  Audit a(options);
  options.node = "b";
  Audit b(options);
  const auto end = tell_many(a, now_ms());
  tell_many(b, end);
  tell_many(a, end);
  ASSERT_TRUE(a.flush(kPatience));
  ASSERT_TRUE(b.flush(kPatience));
  for (const auto& [node, audit] : {std::pair<std::string, const Audit&>{"a", a}, {"b", b}}) {
    const auto of_node = "node = '" + node + "' AND outcome ";
    const auto stats = audit.stats();
    EXPECT_EQ(Peek(file_).value("SELECT sum(lost) FROM deliveries WHERE " + of_node + "= 'gap'"),
              std::to_string(stats.rows_lost));
    EXPECT_EQ(count(of_node + "= 'pushed'"), std::to_string(stats.rows_written));
  }
}

}  // namespace
}  // namespace waystation::test
