#include "relay/missed_answers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace waystation::test {
namespace {

using testing::ElementsAre;

constexpr std::int64_t kNow = 10'000'000'000'000;
const std::vector<std::string> kNodes{"a", "b"};

/// An answer of one node, whose cursor is at row `id`.
Missed answer_of(const std::string& node, std::vector<Missed::Sender> from, std::int64_t id = 1) {
  return {std::move(from), 1, true, MissedCursor{{{5000, id, 77, node}}}.text()};
}

std::vector<std::string> senders(const Missed& missed) {
  std::vector<std::string> texts;
  for (const auto& sender : missed.from) {
    texts.push_back(sender.user + " " + std::to_string(sender.count) + " " +
                    std::to_string(sender.first) + ".." + std::to_string(sender.last));
  }
  return texts;
}

MissedQuestion after(const std::string& cursor) {
  return {0, MissedCursor::parse(cursor)};
}

TEST(MissedAnswers, AddsTheCountsOfASenderOnSeveralNodes) {
  MissedAnswers answers({1000, {}}, "a");
  answers.add(answer_of("b", {{"bob", 2, 1500, 3000}, {"carol", 1, 1000, 1000}}, 8));
  answers.add(answer_of("a", {{"bob", 3, 2000, 4000}, {"dave", 1, 9000, 9000}}, 7));
  const auto missed = answers.result(kNodes, false, kNow);
  ASSERT_TRUE(missed);
  EXPECT_THAT(senders(*missed),
              ElementsAre("dave 1 9000..9000", "bob 5 1500..4000", "carol 1 1000..1000"));
  EXPECT_EQ(missed->notifications, 2U);
  EXPECT_TRUE(missed->complete);
  EXPECT_EQ(missed->next, "5000-7-77-a~5000-8-77-b~1000") << "the node that was asked is the first";
}

TEST(MissedAnswers, ANodeWithoutAnAnswerKeepsItsPosition) {
  MissedAnswers first({1000, {}}, "a");
  first.add(answer_of("a", {}, 7));
  const auto since = first.result(kNodes, true, kNow);
  ASSERT_TRUE(since);
  EXPECT_FALSE(since->complete);
  EXPECT_EQ(since->next, "5000-7-77-a~1000-0-0-b~1000")
      << "its rows since the question are to come";

  // A node is known by its answer, its place in the table, or the cursor.
  MissedAnswers second(after("5000-7-77-a~5000-8-77-b~5000-9-77-c"), "a");
  second.add(answer_of("b", {}, 9));
  const auto next = second.result(kNodes, true, 6000);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->next, "5000-7-77-a~5000-9-77-b~5000-9-77-c~5000");
}

TEST(MissedAnswers, ANodeThatWasNotKnownIsAskedFromTheFirstQuestionOn) {
  const std::vector<std::string> alone{"a"};
  std::string next;
  const auto ask = [&](MissedQuestion question, std::span<const std::string> nodes) {
    MissedAnswers answers(std::move(question), "a");
    answers.add(answer_of("a", {}));
    const auto missed = answers.result(nodes, false, kNow);
    ASSERT_TRUE(missed);
    next = missed->next;
  };
  ask({1000, {}}, alone);
  ask(after(next), alone);
  EXPECT_EQ(MissedCursor{{MissedCursor::parse(next)->on("b")}}.text(), "1000-0-0-b");
  ask(after(next), kNodes);
  EXPECT_EQ(next, "5000-1-77-a~1000-0-0-b~1000") << "it is there, and has not answered";
}

TEST(MissedAnswers, ANodeThatIsGoneMakesTheAnswerIncompleteAndIsForgottenLater) {
  const auto ask = [](std::int64_t now) {
    MissedAnswers answers(after("5000-7-77-a~4000-9-77-gone~1000"), "a");
    answers.add(answer_of("a", {}, 8));
    const auto missed = answers.result(std::vector<std::string>{"a"}, false, now);
    EXPECT_TRUE(missed);
    EXPECT_FALSE(missed->complete);
    return missed->next;
  };
  EXPECT_EQ(ask(4000 + MissedAnswers::kKeepGoneMs - 1), "5000-8-77-a~4000-9-77-gone~1000");
  EXPECT_EQ(ask(4000 + MissedAnswers::kKeepGoneMs), "5000-8-77-a~4000")
      << "if it returns, its rows do not come again";
}

TEST(MissedAnswers, IsCompleteOnlyIfEveryAnswerIs) {
  const auto complete = [](auto add) {
    MissedAnswers answers({1000, {}}, "a");
    answers.add(answer_of("a", {}));
    add(answers);
    const auto missed = answers.result(kNodes, false, kNow);
    EXPECT_TRUE(missed);
    return missed->complete;
  };
  EXPECT_TRUE(complete([](auto& answers) { answers.add(answer_of("b", {})); }));
  EXPECT_FALSE(complete([](auto& answers) {
    auto gap = answer_of("b", {});
    gap.complete = false;
    answers.add(gap);
  }));
  EXPECT_FALSE(complete([](auto& answers) { answers.add(ErrorCode::audit_off); }));
  EXPECT_FALSE(complete([](auto&) {})) << "b has not answered";
  EXPECT_FALSE(complete([](auto& answers) {
    answers.add(answer_of("b", {}));
    answers.add(answer_of("b", {{"bob", 1, 1, 1}}));
  })) << "two nodes of one name";
  EXPECT_FALSE(complete([](auto& answers) {
    auto wrong = answer_of("b", {});
    wrong.next = "elsewhere";
    answers.add(wrong);
  }));
}

TEST(MissedAnswers, WithoutAnAnswerTheFirstFailureCounts) {
  MissedAnswers failed({0, {}}, "a");
  failed.add(ErrorCode::audit_busy);
  failed.add(ErrorCode::audit_off);
  const auto first = failed.result(kNodes, false, kNow);
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, ErrorCode::audit_busy);

  MissedAnswers silent({0, {}}, "a");
  const auto none = silent.result(kNodes, true, kNow);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::timeout);
}

TEST(MissedAnswers, NamesAtMostAHundredSendersTheLatest) {
  MissedAnswers answers({0, {}}, "a");
  std::vector<Missed::Sender> early;
  std::vector<Missed::Sender> late;
  for (int i = 0; i < 60; ++i) {
    early.push_back({"early" + std::to_string(i), 1, i, i});
    late.push_back({"late" + std::to_string(i), 1, 1000 + i, 1000 + i});
  }
  answers.add(answer_of("a", early));
  answers.add(answer_of("b", late));
  const auto missed = answers.result(kNodes, false, kNow);
  ASSERT_TRUE(missed);
  ASSERT_EQ(missed->from.size(), kMaxMissedSenders);
  EXPECT_EQ(missed->from.front().user, "late59");
  EXPECT_EQ(missed->from.back().user, "early20");
  EXPECT_FALSE(missed->complete);
}

TEST(MissedAnswers, ACursorOfManyNodesStaysReadable) {
  MissedAnswers answers({0, {}}, "a");
  answers.add(answer_of("a", {}));
  std::vector<std::string> names;
  for (int i = 0; i < 1000; ++i) {
    names.push_back(std::string(60, 'n') + std::to_string(i));
    answers.add(answer_of(names.back(), {}));
  }
  const auto missed = answers.result(names, false, kNow);
  ASSERT_TRUE(missed);
  EXPECT_FALSE(missed->complete) << "a node is left out";
  const auto cursor = MissedCursor::parse(missed->next);
  ASSERT_TRUE(cursor);
  EXPECT_EQ(cursor->positions.front().node, "a");
  EXPECT_GT(cursor->positions.size(), 90U);
  EXPECT_EQ(cursor->since, 5000) << "its rows do not come again";
}

}  // namespace
}  // namespace waystation::test
