#include "admission/limits.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace waystation::test {
namespace {

using testing::HasSubstr;

const std::optional<Address> kHere = Address::parse("192.0.2.1");
const std::optional<Address> kThere = Address::parse("192.0.2.2");

/// Keeps the reserved permits.
class Held {
 public:
  explicit Held(Limits& limits) : limits_(limits) {}

  /// 0 if a permit was reserved, otherwise the status of the refusal.
  int take(std::string_view user, const std::optional<Address>& address) {
    auto result = limits_.reserve(user, address);
    if (!result) {
      last_ = result.error();
      return last_.status();
    }
    permits_.push_back(std::move(*result));
    return 0;
  }
  void release_one() { permits_.pop_back(); }
  const Refusal& last() const { return last_; }

 private:
  Limits& limits_;
  std::vector<Permit> permits_;
  Refusal last_;
};

TEST(Limits, RefuseMoreThanTheTotalWithRetryAfter) {
  Limits limits({2, 0, 0});
  Held held(limits);
  EXPECT_EQ(held.take("a", kHere), 0);
  EXPECT_EQ(held.take("", kHere), 0);
  EXPECT_EQ(held.take("b", kThere), 503);
  EXPECT_EQ(held.last().code, RefusalCode::full);
  EXPECT_THAT(held.last().detail, HasSubstr("max_connections"));
  EXPECT_THAT(render(held.last()), HasSubstr("\r\nRetry-After: 5\r\n"));
  held.release_one();
  EXPECT_EQ(held.take("b", kThere), 0);
}

TEST(Limits, RefuseMoreThanPerUser) {
  Limits limits({0, 2, 0});
  Held held(limits);
  EXPECT_EQ(held.take("a", kHere), 0);
  EXPECT_EQ(held.take("a", kThere), 0);
  EXPECT_EQ(held.take("a", kHere), 429);
  EXPECT_EQ(held.last().code, RefusalCode::too_many);
  EXPECT_THAT(held.last().detail, HasSubstr("2 sockets open, as many as max_connections_per_user"));
  EXPECT_EQ(held.take("b", kHere), 0);
  held.release_one();
  held.release_one();
  EXPECT_EQ(held.take("a", kHere), 0);
}

TEST(Limits, RefuseMoreThanPerAddress) {
  Limits limits({0, 0, 2});
  Held held(limits);
  EXPECT_EQ(held.take("a", kHere), 0);
  EXPECT_EQ(held.take("", kHere), 0);
  EXPECT_EQ(held.take("b", kHere), 429);
  EXPECT_THAT(held.last().detail, HasSubstr("max_connections_per_address"));
  EXPECT_EQ(held.take("b", kThere), 0);
  EXPECT_EQ(held.take("b", std::nullopt), 0);
}

TEST(Limits, CountAnonymousSocketsInTotalAndPerAddressOnly) {
  Limits limits({0, 1, 0});
  Held held(limits);
  EXPECT_EQ(held.take("", kHere), 0);
  EXPECT_EQ(held.take("", kHere), 0);
  EXPECT_EQ(limits.total(), 2U);
}

TEST(Limits, ReserveNothingIfTheyRefuse) {
  Limits limits({3, 1, 2});
  Held held(limits);
  EXPECT_EQ(held.take("a", kHere), 0);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(held.take("a", kHere), 429);
  EXPECT_EQ(limits.total(), 1U);
  EXPECT_EQ(held.take("b", kHere), 0);  // the refused ones were not counted per address either
}

TEST(Limits, AreOffIfZero) {
  Limits limits({0, 0, 0});
  Held held(limits);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(held.take("a", kHere), 0);
}

TEST(Limits, ChangeWhilePermitsAreHeld) {
  Limits limits({0, 0, 0});
  Held held(limits);
  EXPECT_EQ(held.take("a", kHere), 0);
  EXPECT_EQ(held.take("a", kHere), 0);
  limits.set({0, 2, 0});
  EXPECT_EQ(held.take("a", kHere), 429);
  limits.set({0, 3, 0});
  EXPECT_EQ(held.take("a", kHere), 0);
}

TEST(Permit, IsReleasedOnce) {
  Limits limits({0, 0, 0});
  auto result = limits.reserve("a", kHere);
  Permit permit = std::move(*result);
  EXPECT_EQ(limits.total(), 1U);
  EXPECT_TRUE(permit);
  Permit other = std::move(permit);
  EXPECT_FALSE(permit);  // NOLINT: what is left of it is the point
  EXPECT_EQ(limits.total(), 1U);
  other.release();
  other.release();
  EXPECT_EQ(limits.total(), 0U);
}

TEST(Permit, ReleasesItsOldPermitOnMoveAssignment) {
  Limits limits({0, 1, 0});
  auto first = limits.reserve("a", kHere);
  auto second = limits.reserve("b", kThere);
  *first = std::move(*second);
  EXPECT_EQ(limits.total(), 1U);
  EXPECT_TRUE(limits.reserve("a", kHere));
  EXPECT_FALSE(limits.reserve("b", kHere));
}

TEST(Permit, MayOutliveItsLimits) {
  Permit permit;
  {
    Limits limits({0, 0, 0});
    auto result = limits.reserve("a", kHere);
    permit = std::move(*result);
  }
  permit.release();
  EXPECT_FALSE(permit);
}

TEST(Limits, AreNotExceededByABurst) {
  constexpr std::uint32_t kMax = 50;
  Limits limits({kMax, 0, 0});
  std::atomic<std::uint32_t> admitted{0};
  std::atomic<std::uint64_t> highest{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        std::vector<Permit> permits;
        for (int j = 0; j < 20; ++j) {
          auto result = limits.reserve("user" + std::to_string(j), kHere);
          if (result) {
            const auto now = ++admitted;
            auto before = highest.load();
            while (before < now && !highest.compare_exchange_weak(before, now)) {
            }
            permits.push_back(std::move(*result));
          }
        }
        for (auto& permit : permits) {
          --admitted;
          permit.release();
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(highest.load(), kMax);
  EXPECT_EQ(limits.total(), 0U);
}

}  // namespace
}  // namespace waystation::test
