#include "embed/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

using namespace waystation::server;
using testing::MatchesRegex;

namespace {

/// What `write` puts on standard error.
template <typename Write>
std::string captured(Write write) {
  testing::internal::CaptureStderr();
  write();
  return testing::internal::GetCapturedStderr();
}

}  // namespace

TEST(Log, WritesOneLineAnEventWithItsTime) {
  const auto out = captured([] { Log{LogLevel::info, false}.warning("the kettle boils"); });
  EXPECT_THAT(out, MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
                                "\\.[0-9]{3}Z warning the kettle boils\n"));
}

TEST(Log, WritesJsonWhereAsked) {
  const auto out = captured([] { Log{LogLevel::info, true}.error("say \"a\\b\"\n"); });
  EXPECT_THAT(out, MatchesRegex("\\{\"at\":\"[-0-9T:.]+Z\",\"level\":\"error\","
                                "\"text\":\"say \\\\\"a\\\\\\\\b\\\\\"\\\\u000a\"\\}\n"));
}

TEST(Log, LeavesOutWhatIsBelowItsLevel) {
  EXPECT_EQ(captured([] { Log{LogLevel::error, false}.warning("no"); }), "");
  EXPECT_EQ(captured([] { Log{LogLevel::info, false}.debug("no"); }), "");
  EXPECT_NE(captured([] { Log{LogLevel::debug, false}.debug("yes"); }), "");
}

TEST(Log, ChangesItsLevelAndFormatWhileItRuns) {
  const auto out = captured([] {
    Log log{LogLevel::error, false};
    log.info("no");
    log.configure(LogLevel::info, true);
    log.info("yes");
  });
  EXPECT_THAT(out, MatchesRegex("\\{.*\"level\":\"info\",\"text\":\"yes\"\\}\n"));
}

TEST(Log, LetsNoTextBeginALineOrSteerATerminal) {
  EXPECT_EQ(escape_for_log("a\nb\r\x1b[2J\x7f", false), "a\\x0ab\\x0d\\x1b[2J\\x7f");
  EXPECT_EQ(escape_for_log("a\nb\t", true), "a\\u000ab\\u0009");
  EXPECT_EQ(escape_for_log("\xc2\x9b", false), "\\x9b");  // CSI, as one character
  EXPECT_EQ(escape_for_log(std::string_view{"\0", 1}, true), "\\u0000");
}

TEST(Log, KeepsTextInOtherScriptsAndReplacesWhatIsNoText) {
  EXPECT_EQ(escape_for_log("驿站 é 🐎", true), "驿站 é 🐎");
  EXPECT_EQ(escape_for_log("a\xff", true), "a\xEF\xBF\xBD");
  EXPECT_EQ(escape_for_log("\xe9\xa9", true), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(escape_for_log("\xed\xa0\x80", true).find('\xed'), std::string::npos);  // a surrogate
  EXPECT_EQ(escape_for_log("\xc0\xaf", false).find('/'), std::string::npos);        // too long
}

TEST(Log, KnowsItsLevelsByName) {
  EXPECT_EQ(parse_log_level("error"), LogLevel::error);
  EXPECT_EQ(parse_log_level("warning"), LogLevel::warning);
  EXPECT_EQ(parse_log_level("info"), LogLevel::info);
  EXPECT_EQ(parse_log_level("debug"), LogLevel::debug);
}
