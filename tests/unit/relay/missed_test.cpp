#include "relay/missed.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "relay/json_scanner.hpp"

namespace waystation::test {
namespace {

using ::testing::HasSubstr;

TEST(MissedCursor, IsParsedFromItsText) {
  const MissedPosition one{1, 2, 3, "host-1.example_2"};
  const MissedPosition two{std::numeric_limits<std::int64_t>::max(), 7, 9, "-"};
  for (const auto& cursor : {MissedCursor{{one}}, MissedCursor{{{0, 0, 0, "n"}}},
                             MissedCursor{{one, two}}, MissedCursor{{one, two}, 400}}) {
    const auto parsed = MissedCursor::parse(cursor.text());
    ASSERT_TRUE(parsed) << cursor.text();
    EXPECT_EQ(parsed->text(), cursor.text());
    EXPECT_EQ(parsed->positions.size(), cursor.positions.size());
    EXPECT_EQ(parsed->since, cursor.since);
    EXPECT_EQ(parsed->positions.back().node, cursor.positions.back().node);
  }
  EXPECT_EQ((MissedCursor{{one, two}}).text(), "1-2-3-host-1.example_2~9223372036854775807-7-9--");
  EXPECT_EQ((MissedCursor{{one}, 400}).text(), "1-2-3-host-1.example_2~400");
}

TEST(MissedCursor, KnowsThePositionOnEachNode) {
  const MissedCursor cursor{{{10, 2, 3, "a"}, {20, 4, 5, "b"}}};
  EXPECT_EQ(MissedCursor{{cursor.on("b")}}.text(), "20-4-5-b");
  EXPECT_EQ(MissedCursor{{cursor.on("c")}}.text(), "10-0-0-c");
  const MissedCursor with_since{cursor.positions, 5};
  EXPECT_EQ(MissedCursor{{with_since.on("a")}}.text(), "10-2-3-a");
  EXPECT_EQ(MissedCursor{{with_since.on("c")}}.text(), "5-0-0-c");
}

TEST(MissedCursor, RefusesEverythingElse) {
  for (const std::string text : {"",
                                 "-",
                                 "-0-2-3-n",
                                 "1",
                                 "1-2",
                                 "1-2-3",
                                 "1-2-3-",
                                 "-1-2-3-n",
                                 "1--2-3-n",
                                 "1-2-3-a b",
                                 "1-2-3-a\"b",
                                 "a-2-3-n",
                                 "+1-2-3-n",
                                 "1.5-2-3-n",
                                 "9223372036854775808-2-3-n",
                                 " 1-2-3-n",
                                 "1-2-3-\xc3\xa4",
                                 "~",
                                 "1-2-3-n~",
                                 "~1-2-3-n",
                                 "1-2-3-n~~1-2-3-m",
                                 "1-2-3-n~1-2-3",
                                 "1-2-3-n~4-5-6-n",
                                 "1-2-3-n~4~5-6-7-m",
                                 "1-2-3-n~4~5",
                                 "1-2-3-n~-4",
                                 "1-2-3-n~4-",
                                 "1-2-3-n~9223372036854775808"}) {
    EXPECT_FALSE(MissedCursor::parse(text)) << text;
  }
  EXPECT_FALSE(MissedCursor::parse("1-2-3-" + std::string(65, 'n')));
  std::string text = "0-0-0-0";
  for (std::size_t i = 1; i < MissedCursor::kMaxNodes; ++i) text += "~0-0-0-" + std::to_string(i);
  EXPECT_TRUE(MissedCursor::parse(text));
  EXPECT_TRUE(MissedCursor::parse(text + "~0"));
  EXPECT_FALSE(MissedCursor::parse(text + "~0-0-0-more"));
  text = "0-0-0-" + std::string(64, 'n');
  for (std::size_t i = 0; text.size() <= MissedCursor::kMaxBytes; ++i) {
    text += "~0-0-0-" + std::string(60, 'n') + std::to_string(1000 + i);
  }
  EXPECT_FALSE(MissedCursor::parse(text)) << "too long";
}

TEST(ReadMissed, ReadsATimeOrACursor) {
  auto question = read_missed(R"({"since": 9007199254740991})");
  ASSERT_TRUE(question);
  EXPECT_EQ(question->since, kMaxJsonInteger);
  EXPECT_FALSE(question->after);
  question = read_missed(R"({ "other" : {"since": 1} , "\u0061fter" : "1-2-3-\u006eode" })");
  ASSERT_TRUE(question);
  ASSERT_TRUE(question->after);
  EXPECT_EQ(question->after->text(), "1-2-3-node");
}

TEST(ReadMissed, SaysWhatIsWrong) {
  const auto problem = [](std::string_view text) {
    const auto question = read_missed(text);
    return std::string(question ? "none" : question.error());
  };
  for (const auto* const text : {"0", "null", "[]", R"("since")"}) {
    EXPECT_THAT(problem(text), HasSubstr("not an object; send ")) << text;
  }
  for (const auto* const text : {"{}", R"({"before": 1})"}) {
    EXPECT_THAT(problem(text), HasSubstr("needs one of since and after; send ")) << text;
  }
  EXPECT_THAT(problem(R"({"since":1,"after":"1-2-3-n"})"), HasSubstr("send only one"));
  for (const auto* const text :
       {R"({"since":-1})", R"({"since":-0})", R"({"since":1.0})", R"({"since":1e3})",
        R"({"since":"1"})", R"({"since":null})", R"({"since":9007199254740992})",
        R"({"since":99999999999999999999})", R"({"since":{}})"}) {
    EXPECT_THAT(problem(text), HasSubstr("since is not a time; send ")) << text;
  }
  for (const auto* const text :
       {R"({"after":1})", R"({"after":null})", R"({"after":""})", R"({"after":"1-2-3-\u00e4"})"}) {
    EXPECT_THAT(problem(text), HasSubstr("after is not valid; send ")) << text;
  }
  EXPECT_THAT(problem(R"({"since":1,"since":1})"), HasSubstr("occurs twice; send it once"));
  EXPECT_THAT(problem(R"({"after":"1-2-3-n","after":"1-2-3-n"})"), HasSubstr("occurs twice"));
}

TEST(MissedText, IsTheAnswerAsJson) {
  Missed missed{{{"bob", 3, 1000, 2000}, {"carol", 1, 5, 5}}, 7, true, "9-8-7-here"};
  EXPECT_EQ(missed_text(missed),
            R"({"missed":{"from":[{"user":"bob","count":3,"first":1000,"last":2000},)"
            R"({"user":"carol","count":1,"first":5,"last":5}],"notifications":7,)"
            R"("complete":true,"next":"9-8-7-here"}})");
  EXPECT_TRUE(is_json(missed_text(missed)));
  EXPECT_EQ(missed_text({}),
            R"({"missed":{"from":[],"notifications":0,"complete":false,"next":""}})");
}

}  // namespace
}  // namespace waystation::test
