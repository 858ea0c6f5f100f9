#include "relay/rate_limit.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace waystation::test {
namespace {

/// How many of `tries` messages the bucket allows at `now_ms`.
int passed(TokenBucket& bucket, const RateLimit& limit, std::int64_t now_ms, int tries) {
  int count = 0;
  for (int i = 0; i < tries; ++i) count += bucket.take(limit, now_ms) ? 1 : 0;
  return count;
}

TEST(TokenBucket, AllowsABurstAndNoMore) {
  TokenBucket bucket;
  EXPECT_EQ(passed(bucket, {50, 200}, 1000, 500), 200);
}

TEST(TokenBucket, StartsFullAtAnyTime) {
  for (const std::int64_t now : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1} << 52}) {
    TokenBucket bucket;
    EXPECT_EQ(passed(bucket, {1, 5}, now, 10), 5) << now;
  }
}

TEST(TokenBucket, FillsAtItsRate) {
  TokenBucket bucket;
  const RateLimit limit{50, 200};
  passed(bucket, limit, 1000, 200);
  EXPECT_FALSE(bucket.take(limit, 1019));
  EXPECT_TRUE(bucket.take(limit, 1020));
  EXPECT_FALSE(bucket.take(limit, 1020));
  EXPECT_EQ(passed(bucket, limit, 2020, 500), 50);
}

TEST(TokenBucket, ARefusedMessageCostsNothing) {
  TokenBucket bucket;
  const RateLimit limit{10, 1};
  EXPECT_TRUE(bucket.take(limit, 0));
  for (std::int64_t now = 1; now < 100; ++now) EXPECT_FALSE(bucket.take(limit, now)) << now;
  EXPECT_TRUE(bucket.take(limit, 100));
}

TEST(TokenBucket, NeverHoldsMoreThanABurst) {
  TokenBucket bucket;
  const RateLimit limit{50, 200};
  passed(bucket, limit, 1000, 200);
  EXPECT_EQ(passed(bucket, limit, 10'000'000'000, 500), 200);
}

TEST(TokenBucket, AllowsSeveralMessagesPerMillisecond) {
  TokenBucket bucket;
  const RateLimit limit{5000, 5};
  passed(bucket, limit, 0, 5);
  int count = 0;
  for (std::int64_t now = 1; now <= 1000; ++now) count += passed(bucket, limit, now, 10);
  EXPECT_EQ(count, 5000);
}

TEST(TokenBucket, AllowsARateOfOneMessagePerSecond) {
  TokenBucket bucket;
  const RateLimit limit{1, 1};
  int count = 0;
  for (std::int64_t now = 0; now < 10'000; ++now) count += passed(bucket, limit, now, 3);
  EXPECT_EQ(count, 10);
}

TEST(TokenBucket, AClockThatStepsBackAddsNothing) {
  TokenBucket bucket;
  const RateLimit limit{50, 10};
  passed(bucket, limit, 100'000, 10);
  EXPECT_EQ(passed(bucket, limit, 50'000, 10), 0);
  EXPECT_EQ(passed(bucket, limit, 51'000, 100), 10);
}

TEST(TokenBucket, ARateOf0AllowsEverything) {
  TokenBucket bucket;
  EXPECT_EQ(passed(bucket, {0, 0}, 5, 100'000), 100'000);
  EXPECT_EQ(passed(bucket, {0, 1}, 5, 1000), 1000);
}

TEST(TokenBucket, ABurstOf0CountsAsOne) {
  TokenBucket bucket;
  EXPECT_EQ(passed(bucket, {10, 0}, 0, 5), 1);
  EXPECT_EQ(passed(bucket, {10, 0}, 100, 5), 1);
}

TEST(TokenBucket, AChangedLimitAppliesToTheNextMessage) {
  TokenBucket bucket;
  passed(bucket, {50, 100}, 0, 100);
  EXPECT_FALSE(bucket.take({50, 10}, 0));
  EXPECT_TRUE(bucket.take({50, 200}, 0));
  EXPECT_TRUE(bucket.take({0, 0}, 0));
}

TEST(TokenBucket, TheLargestNumbersDoNotOverflow) {
  constexpr auto most = std::numeric_limits<std::uint32_t>::max();
  TokenBucket bucket;
  EXPECT_TRUE(bucket.take({most, most}, 0));
  EXPECT_TRUE(bucket.take({most, most}, std::int64_t{1} << 60));
  EXPECT_EQ(passed(bucket, {most, 1}, (std::int64_t{1} << 60) + 1, 5), 1);
}

}  // namespace
}  // namespace waystation::test
