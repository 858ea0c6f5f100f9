#include "embed/log.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>

#include "embed/log_limiter.hpp"

using namespace waystation::server;
using testing::HasSubstr;
using testing::MatchesRegex;

namespace {

/// The bytes that `write` puts on standard error.
template <typename Write>
std::string captured(Write write) {
  testing::internal::CaptureStderr();
  write();
  return testing::internal::GetCapturedStderr();
}

/// Makes standard error a journal stream, as systemd does.
void call_stderr_the_journal() {
  struct stat file {};
  fstat(STDERR_FILENO, &file);
  setenv("JOURNAL_STREAM",
         (std::to_string(file.st_dev) + ":" + std::to_string(file.st_ino)).c_str(), 1);
}

}  // namespace

TEST(Log, WritesOneLinePerEventWithItsTime) {
  const auto out = captured([] { Log{LogLevel::info, false}.warning("the kettle boils"); });
  EXPECT_THAT(out, MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
                                "\\.[0-9]{3}Z warning the kettle boils\n"));
}

TEST(Log, WritesJsonIfConfigured) {
  const auto out = captured([] { Log{LogLevel::info, true}.error("say \"a\\b\"\n"); });
  EXPECT_THAT(out, MatchesRegex("\\{\"at\":\"[-0-9T:.]+Z\",\"level\":\"error\","
                                "\"text\":\"say \\\\\"a\\\\\\\\b\\\\\"\\\\u000a\"\\}\n"));
}

TEST(Log, OmitsLinesBelowItsLevel) {
  EXPECT_EQ(captured([] { Log{LogLevel::error, false}.warning("no"); }), "");
  EXPECT_EQ(captured([] { Log{LogLevel::info, false}.debug("no"); }), "");
  EXPECT_NE(captured([] { Log{LogLevel::debug, false}.debug("yes"); }), "");
}

TEST(Log, ChangesLevelAndFormatAtRunTime) {
  const auto out = captured([] {
    Log log{LogLevel::error, false};
    log.info("no");
    log.configure(LogLevel::info, true);
    log.info("yes");
  });
  EXPECT_THAT(out, MatchesRegex("\\{.*\"level\":\"info\",\"text\":\"yes\"\\}\n"));
}

TEST(Log, EscapesLineEndsAndTerminalControls) {
  EXPECT_EQ(escape_for_log("a\nb\r\x1b[2J\x7f", false), "a\\x0ab\\x0d\\x1b[2J\\x7f");
  EXPECT_EQ(escape_for_log("a\nb\t", true), "a\\u000ab\\u0009");
  EXPECT_EQ(escape_for_log("\xc2\x9b", false), "\\x9b");  // CSI as one character
  EXPECT_EQ(escape_for_log(std::string_view{"\0", 1}, true), "\\u0000");
}

TEST(Log, KeepsUtf8AndReplacesInvalidBytes) {
  EXPECT_EQ(escape_for_log("驿站 é 🐎", true), "驿站 é 🐎");
  EXPECT_EQ(escape_for_log("a\xff", true), "a\xEF\xBF\xBD");
  EXPECT_EQ(escape_for_log("\xe9\xa9", true), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(escape_for_log("\xed\xa0\x80", true).find('\xed'), std::string::npos);  // a surrogate
  EXPECT_EQ(escape_for_log("\xc0\xaf", false).find('/'), std::string::npos);        // overlong
}

TEST(Log, ParsesLevelNames) {
  EXPECT_EQ(parse_log_level("error"), LogLevel::error);
  EXPECT_EQ(parse_log_level("warning"), LogLevel::warning);
  EXPECT_EQ(parse_log_level("info"), LogLevel::info);
  EXPECT_EQ(parse_log_level("debug"), LogLevel::debug);
}

TEST(Log, LimitsLinesThatClientsCause) {
  constexpr std::uint64_t kEvents = 10'000;
  const auto out = captured([] {
    Log log{LogLevel::info, false};
    for (std::uint64_t i = 0; i < kEvents; ++i) {
      log.warning("a socket was refused: by " + std::to_string(i));
    }
    log.warning("the kettle boils");
  });
  // All lines fall into one interval unless the machine is very slow.
  EXPECT_LT(std::ranges::count(out, '\n'), 10 * LogLimiter::kLines);
  EXPECT_THAT(out, HasSubstr(" warning the kettle boils\n"));
  std::uint64_t told = 0;
  std::uint64_t left_out = 0;
  std::istringstream lines{out};
  for (std::string line; std::getline(lines, line);) {
    const auto text = line.substr(line.find(" warning ") + 9);
    if (text.starts_with("a socket was refused: ")) ++told;
    if (text.ends_with(" s: a socket was refused")) left_out += std::stoull(text);
  }
  EXPECT_GE(told, LogLimiter::kLines);
  EXPECT_EQ(told + left_out, kEvents) << out;
}

TEST(Log, CountsNoLinesBelowItsLevel) {
  const auto out = captured([] {
    Log log{LogLevel::info, false};
    for (int i = 0; i < 1000; ++i) log.debug("civetweb: x");
  });
  EXPECT_EQ(out, "");
}

TEST(Log, GivesJournaldThePriorityOfEachLine) {
  const auto out = captured([] {
    call_stderr_the_journal();
    Log{LogLevel::info, false}.warning("the kettle boils");
    write_final_line("there is\nno kettle\x1b");
    unsetenv("JOURNAL_STREAM");
  });
  EXPECT_THAT(out, MatchesRegex("<4>[-0-9T:.]+Z warning the kettle boils\n"
                                "<3>waystation: there is no kettle \n"));
}

TEST(Log, WritesNoPrioritiesOutsideJournald) {
  EXPECT_EQ(captured([] { write_final_line("there is no kettle"); }),
            "waystation: there is no kettle\n");
}

TEST(Log, DropsAndCountsLinesThatCannotBeWritten) {
  int ends[2] = {};
  ASSERT_EQ(pipe(ends), 0);
  const int before = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  const auto fill = [&] {
    const std::string page(4096, '.');
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], page.data(), page.size()) > 0) continue;
    fcntl(ends[1], F_SETFL, 0);
  };
  const auto drain = [&] {
    std::string text(std::size_t{1} << 20, '\0');
    text.resize(
        static_cast<std::size_t>(std::max<ssize_t>(read(ends[0], text.data(), text.size()), 0)));
    return text;
  };
  {
    Log log{LogLevel::info, false};
    fill();
    log.info("one");
    log.info("two");
    drain();
    log.info("three");
  }
  const auto text = drain();
  dup2(before, STDERR_FILENO);
  for (const int descriptor : {before, ends[0], ends[1]}) close(descriptor);
  EXPECT_THAT(text,
              MatchesRegex("[^\n]* warning 2 lines of the log were lost: standard error was full\n"
                           "[^\n]* info three\n"));
}
