#include "relay/user_listing.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "unit/relay/fake_members.hpp"

namespace waystation::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr auto kPlain = Protocol::plain;

class UserListingTest : public testing::Test {
 protected:
  using Sockets = std::vector<std::unique_ptr<FakePush>>;

  std::unique_ptr<FakePush> push(std::string_view user) {
    return std::make_unique<FakePush>(relay.router, kPlain, user);
  }
  std::unique_ptr<FakeChat> chat(std::string_view group, std::string_view user) {
    return std::make_unique<FakeChat>(relay.router, kPlain, group, user);
  }
  /// A push socket of each of the users PREFIX0, PREFIX1, …
  Sockets pushes(const std::string& prefix, int count) {
    Sockets sockets;
    for (int i = 0; i < count; ++i) sockets.push_back(push(prefix + std::to_string(i)));
    return sockets;
  }

  void ask(std::string_view after, std::size_t limit) {
    page.reset();
    relay.listing.list(after, limit, relay.scheduler.time.steady_ms + 1000,
                       [this](std::optional<UserPage> answer) { page = std::move(answer); });
  }
  /// One round.
  void step() {
    ASSERT_TRUE(relay.scheduler.take_due());
    relay.listing.run();
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& user : page.value().users) names.emplace_back(user.name.view());
    return names;
  }
  std::vector<std::string> list(std::string_view after, std::size_t limit) {
    ask(after, limit);
    relay.work();
    return names();
  }

  LocalRelay relay;
  std::optional<UserPage> page;
};

TEST_F(UserListingTest, CountsThePushSocketsAndGroupsOfEachUser) {
  auto phone = push("bob");
  auto desk = push("bob");
  auto one = chat("alice_bob", "bob");
  auto tab = chat("alice_bob", "bob");
  auto two = chat("bob_carol", "bob");
  auto guest = chat("dave_erin", "");
  EXPECT_THAT(list("", 10), ElementsAre("bob")) << "not those whom a group is named after only";
  EXPECT_EQ(page->users[0].push_sockets, 2U);
  EXPECT_EQ(page->users[0].groups, 2U);
  EXPECT_FALSE(page->has_more);
  tab.reset();
  list("", 10);
  EXPECT_EQ(page->users[0].groups, 2U);
  one.reset();
  list("", 10);
  EXPECT_EQ(page->users[0].groups, 1U);
  phone.reset();
  desk.reset();
  two.reset();
  EXPECT_THAT(list("", 10), IsEmpty());
}

TEST_F(UserListingTest, AUserWithoutSocketsIsNotHere) {
  relay.directory.set_rate_limit({1, 1});
  {
    auto alice = chat("alice_bob", "alice");
    alice->say(R"({"message":1})");
  }
  ASSERT_NE(relay.directory.find_user("alice"), nullptr) << "the rate bucket keeps the user";
  EXPECT_THAT(list("", 10), IsEmpty());
}

TEST_F(UserListingTest, PagesAreOrderedByName) {
  std::vector<std::string> users{"bob", "alice", "carol", "10", "9", "a", "aa", "zoe"};
  Sockets sockets;
  for (const auto& user : users) sockets.push_back(push(user));
  EXPECT_THAT(list("", 3), ElementsAre("10", "9", "a"));
  EXPECT_TRUE(page->has_more);
  EXPECT_THAT(list("a", 3), ElementsAre("aa", "alice", "bob"));
  EXPECT_TRUE(page->has_more);
  EXPECT_THAT(list("bob", 3), ElementsAre("carol", "zoe"));
  EXPECT_FALSE(page->has_more);
  EXPECT_THAT(list("bob", 2), ElementsAre("carol", "zoe"));
  EXPECT_FALSE(page->has_more);
  EXPECT_THAT(list("b", 1), ElementsAre("bob")) << "`after` need not be here";
  EXPECT_THAT(list("zoe", 1), IsEmpty());
}

TEST_F(UserListingTest, AllPagesTogetherAreAllUsers) {
  auto sockets = pushes("u", 2500);
  std::vector<std::string> expected;
  for (int i = 0; i < 2500; ++i) expected.push_back("u" + std::to_string(i));
  std::ranges::sort(expected);
  std::vector<std::string> found;
  do {
    const auto next = list(found.empty() ? "" : found.back(), 1000);
    found.insert(found.end(), next.begin(), next.end());
  } while (page->has_more);
  EXPECT_EQ(found, expected);
}

TEST_F(UserListingTest, ARoundReadsABoundedNumberOfUsers) {
  auto sockets = pushes("u", 20'000);
  ask("", 10);
  const int rounds = relay.work();
  EXPECT_GE(rounds, 20);
  EXPECT_THAT(names(), ElementsAre("u0", "u1", "u10", "u100", "u1000", "u10000", "u10001", "u10002",
                                   "u10003", "u10004"));
  // The table stays large.
  sockets.clear();
  ask("", 10);
  EXPECT_GE(relay.work(),
            static_cast<int>(relay.directory.user_buckets() / UserListing::kStepBuckets));
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(UserListingTest, UsersMayComeAndGoMeanwhile) {
  // Those who stay are listed once; the others may be or not. The directory grows on the way.
  constexpr unsigned kSeed = 17;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937 random(kSeed);
  auto staying = pushes("s", 5000);
  auto others = pushes("x", 3000);
  const auto buckets = relay.directory.user_buckets();
  ask("", 1000);
  int come = 0;
  int rounds = 0;
  for (; !page; ++rounds) {
    for (int i = 0; i < 200; ++i) {
      std::swap(others[random() % others.size()], others.back());
      others.pop_back();
    }
    for (int i = 0; i < 1000 && come < 20'000; ++i) {
      others.push_back(push("y" + std::to_string(come++)));
    }
    step();
    ASSERT_FALSE(HasFatalFailure());
  }
  ASSERT_GT(relay.directory.user_buckets(), buckets) << "the test needs a directory that grows";
  std::vector<std::string> expected;
  for (int i = 0; i < 5000; ++i) expected.push_back("s" + std::to_string(i));
  std::ranges::sort(expected);
  expected.resize(1000);
  EXPECT_EQ(names(), expected);
}

TEST_F(UserListingTest, QuestionsAreAnsweredInTurn) {
  auto sockets = pushes("u", 2500);
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) {
    relay.listing.list("", 1, 5000, [&order, i](const std::optional<UserPage>& answer) {
      EXPECT_TRUE(answer);
      order.push_back(i);
    });
  }
  relay.work();
  EXPECT_THAT(order, ElementsAre(0, 1, 2));
  EXPECT_FALSE(relay.scheduler.due_ms);
}

TEST_F(UserListingTest, AnAnswerMayAskAgain) {
  int answers = 0;
  relay.listing.list("", 1, 5000, [&](const std::optional<UserPage>&) {
    ++answers;
    ask("", 1);
  });
  relay.work();
  EXPECT_EQ(answers, 1);
  EXPECT_TRUE(page);
}

TEST_F(UserListingTest, AQuestionThatNobodyWaitsForCostsNothing) {
  auto sockets = pushes("u", 2500);
  std::optional<bool> has_page;
  relay.listing.list("", 1, relay.scheduler.time.steady_ms + 10,
                     [&](const std::optional<UserPage>& answer) { has_page = answer.has_value(); });
  step();
  EXPECT_FALSE(has_page);
  EXPECT_EQ(relay.work_after(10), 1);
  EXPECT_EQ(has_page, false);
  EXPECT_FALSE(relay.scheduler.due_ms);
}

TEST(MergePages, AddsTheNumbersOfAUserOnSeveralNodes) {
  const auto page = [](std::initializer_list<const char*> names, bool has_more = false) {
    UserPage made;
    for (const auto* const name : names) made.users.push_back({ShortText(name), 1, 2, 1});
    made.has_more = has_more;
    return made;
  };
  const auto texts = [](const UserPage& merged) {
    std::vector<std::string> made;
    for (const auto& user : merged.users) {
      made.push_back(std::string(user.name.view()) + " " + std::to_string(user.push_sockets) + " " +
                     std::to_string(user.groups) + " " + std::to_string(user.nodes));
    }
    return made;
  };
  auto merged = merge_pages(page({"a", "c", "d"}), page({"b", "c"}), 5);
  EXPECT_THAT(texts(merged), testing::ElementsAre("a 1 2 1", "b 1 2 1", "c 2 4 2", "d 1 2 1"));
  EXPECT_FALSE(merged.has_more);
  merged = merge_pages(merged, page({"c"}), 4);
  EXPECT_THAT(texts(merged), testing::ElementsAre("a 1 2 1", "b 1 2 1", "c 3 6 3", "d 1 2 1"));
  EXPECT_FALSE(merged.has_more) << "exactly the limit";
  merged = merge_pages(merged, page({"e"}), 4);
  EXPECT_EQ(merged.users.size(), 4U);
  EXPECT_TRUE(merged.has_more);
  EXPECT_TRUE(merge_pages(page({}), page({"a"}, true), 1).has_more);
  EXPECT_TRUE(merge_pages(page({}), UserPage{{}, false, true}, 1).is_partial);
}

}  // namespace
}  // namespace waystation::test
