#include "cluster/question_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace waystation::test {
namespace {

using testing::ElementsAre;

/// `read` must refuse each beginning of `text` that is not whole, except those of these lengths.
template <typename Read>
void expect_no_part(const std::string& text, Read read, std::initializer_list<std::size_t> whole) {
  for (std::size_t size = 0; size < text.size(); ++size) {
    const bool is_whole = std::find(whole.begin(), whole.end(), size) != whole.end();
    // A copy, so that a sanitizer sees a read beyond it.
    EXPECT_EQ(bool(read(std::string(text.data(), size))), is_whole) << size;
  }
}

TEST(QuestionText, AsksWhatAUserMissed) {
  const auto since = missed_ask_text("bob", {1234, {}});
  auto read = read_missed_ask(since);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->user, "bob");
  EXPECT_EQ(read->question.since, 1234);
  EXPECT_FALSE(read->question.after);
  expect_no_part(since, read_missed_ask, {});

  const auto cursor = MissedCursor::parse("1-2-3-a~4-5-6-b");
  read = read_missed_ask(missed_ask_text("bob", {0, cursor}));
  ASSERT_TRUE(read && read->question.after);
  EXPECT_EQ(read->question.after->text(), "1-2-3-a~4-5-6-b");
  EXPECT_FALSE(read_missed_ask(since + "cursor"));
  EXPECT_FALSE(read_missed_ask(missed_ask_text("Bob", {0, {}})));
  EXPECT_FALSE(read_missed_ask(missed_ask_text("bob", {-1, {}})));
}

TEST(QuestionText, AnswersWhatAUserMissed) {
  const Missed missed{{{"bob", 3, 1000, 2000}, {"carol", 1, 5, 5}}, 7, true, "9-8-7-here"};
  const auto text = missed_answer_text(missed);
  const auto read = read_missed_answer(text);
  ASSERT_TRUE(read && *read);
  EXPECT_EQ(missed_text(**read), missed_text(missed));
  // The senders end the text.
  expect_no_part(text, read_missed_answer, {21, 21 + 28});

  const auto failure = read_missed_answer(missed_answer_text(missed_failure(ErrorCode::audit_off)));
  ASSERT_TRUE(failure && !*failure);
  EXPECT_EQ(failure->error().code, ErrorCode::audit_off);
  EXPECT_FALSE(read_missed_answer("\1\xff"));
  EXPECT_FALSE(read_missed_answer(missed_answer_text(Missed{{{"Bob", 1, 1, 1}}, 0, true, "n"})));
  EXPECT_FALSE(read_missed_answer(missed_answer_text(Missed{{{"bob", 1, -1, 1}}, 0, true, "n"})));
  Missed many;
  many.from.assign(kMaxMissedSenders, {"bob", 1, 1, 1});
  EXPECT_TRUE(read_missed_answer(missed_answer_text(many)));
  many.from.push_back({"bob", 1, 1, 1});
  EXPECT_FALSE(read_missed_answer(missed_answer_text(many)));
}

TEST(QuestionText, AsksForAPageOfUsers) {
  const auto text = users_ask_text("bob", 1000);
  const auto read = read_users_ask(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->after, "bob");
  EXPECT_EQ(read->limit, 1000U);
  EXPECT_TRUE(read_users_ask(users_ask_text("", 1)));
  EXPECT_FALSE(read_users_ask(users_ask_text("", 0)));
  EXPECT_FALSE(read_users_ask(users_ask_text("", 1001)));
  EXPECT_FALSE(read_users_ask(users_ask_text("Bob", 1)));
  EXPECT_FALSE(read_users_ask(""));
  EXPECT_FALSE(read_users_ask(std::string(1, '\0')));
}

TEST(QuestionText, AnswersWithAPageOfUsers) {
  const UserPage page{{{ShortText("alice"), 1, 2, 1}, {ShortText("bob"), 3, 0, 1}}, true, false};
  const auto text = user_page_text(page);
  const auto read = read_user_page(text);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->users.size(), 2U);
  EXPECT_EQ(read->users[0].name.view(), "alice");
  EXPECT_EQ(read->users[0].groups, 2U);
  EXPECT_EQ(read->users[1].push_sockets, 3U);
  EXPECT_TRUE(read->has_more);
  EXPECT_FALSE(read->is_partial);
  expect_no_part(text, read_user_page, {2, 2 + 14});

  EXPECT_TRUE(read_user_page(user_page_text(std::nullopt))->is_partial);
  const auto pair = [](const char* one, const char* other) {
    return user_page_text(UserPage{{{ShortText(one)}, {ShortText(other)}}, false, false});
  };
  EXPECT_TRUE(read_user_page(pair("a", "b")));
  EXPECT_FALSE(read_user_page(pair("b", "a"))) << "not in order";
  EXPECT_FALSE(read_user_page(pair("a", "a")));
  EXPECT_FALSE(read_user_page(pair("a", "B")));
}

TEST(QuestionText, AnswersWhereAUserIsPresent) {
  UserPresence found{1, {"alice_bob"}, false};
  const auto text = presence_answer_text({2, {"alice_bob", "alice_carol"}, false});
  ASSERT_TRUE(add_presence_answer(text, found));
  EXPECT_EQ(found.push_sockets, 3U);
  EXPECT_THAT(found.groups, ElementsAre("alice_bob", "alice_bob", "alice_carol"));
  EXPECT_FALSE(found.is_partial);
  expect_no_part(text,
                 [](const std::string& part) {
                   UserPresence into;
                   return add_presence_answer(part, into);
                 },
                 {9, 9 + 10});
  UserPresence cut{0, {}, false};
  ASSERT_TRUE(add_presence_answer(
      presence_answer_text({0, std::vector<std::string>(200'000, "alice_bob"), false}), cut));
  EXPECT_TRUE(cut.is_partial);
  EXPECT_GT(cut.groups.size(), 100'000U);
}

}  // namespace
}  // namespace waystation::test
