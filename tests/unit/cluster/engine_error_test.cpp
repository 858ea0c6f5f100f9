#include "cluster/engine_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace waystation::test {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(EngineError, SaysWhatAnOperatorCanDo) {
  EXPECT_EQ(describe_engine_error("OOM command not allowed when used memory > 'maxmemory'."),
            "the server answered \"OOM command not allowed when used memory > 'maxmemory'.\"; "
            "raise its maxmemory, or free memory there");
  EXPECT_THAT(describe_engine_error("MISCONF Redis is configured to save RDB snapshots"),
              HasSubstr("\"; it cannot save its data"));
  EXPECT_EQ(describe_engine_error("ERR something else"),
            "the server answered \"ERR something else\"");
}

TEST(EngineError, ShowsNoArgumentsOfTheCommand) {
  EXPECT_EQ(describe_engine_error("ERR unknown command 'EVALSHA', with args beginning with: '0' "
                                  "'alice_bob' 'secret'"),
            "the server answered \"ERR unknown command 'EVALSHA',\"");
  EXPECT_EQ(describe_engine_error("NOPERM no right to 'ws1:test:c:alice_bob:lo' or ws1:x:p:carol, "
                                  "nor ws1:x:p:dave"),
            "the server answered \"NOPERM no right to 'ws1:' or ws1:, nor ws1:\"; "
            "give its user the rights that the shipped redis.conf names");
}

TEST(EngineError, ShowsWholeSentencesOfRedis) {
  const std::string text =
      "NOPERM this user has no permissions to access one of the channels used as arguments";
  EXPECT_THAT(describe_engine_error(text), HasSubstr("\"" + text + "\"; "));
}

TEST(EngineError, IsOneLineOfBoundedLength) {
  const auto text = describe_engine_error("ERR a\r\nb\x1b[0m\"" + std::string(10'000, 'x'));
  EXPECT_LT(text.size(), 200U);
  EXPECT_THAT(text, HasSubstr("ERR a??b?[0m?xxx"));
  EXPECT_THAT(text, Not(HasSubstr("\n")));
}

TEST(EngineError, EachKindIsDueOnceAMinute) {
  EngineErrorLog log;
  EXPECT_TRUE(log.take("OOM one", 0));
  EXPECT_FALSE(log.take("OOM two", EngineErrorLog::kIntervalMs - 1));
  EXPECT_TRUE(log.take("NOPERM", 1));
  EXPECT_TRUE(log.take("ERR one", 1));
  EXPECT_FALSE(log.take("WRONGTYPE", 2)) << "all others are one kind";
  EXPECT_TRUE(log.take("OOM three", EngineErrorLog::kIntervalMs));
}

TEST(EngineError, AConnectionThatFailsAgainIsLoggedOnceAMinute) {
  constexpr auto kInterval = ConnectionProblemLog::kIntervalMs;
  ConnectionProblemLog log;
  EXPECT_TRUE(log.take("refused", 10));
  EXPECT_FALSE(log.take("refused", 20));
  EXPECT_TRUE(log.take("timeout", 30)) << "it has changed";
  EXPECT_FALSE(log.take("timeout", kInterval + 9));
  EXPECT_TRUE(log.take("timeout", kInterval + 10)) << "a reminder";
  log.reset();
  EXPECT_TRUE(log.take("timeout", kInterval + 11)) << "it has worked in between";
}

TEST(EngineError, AConnectionThatFailsInManyWaysDoesNotFillTheLog) {
  ConnectionProblemLog log;
  unsigned lines = 0;
  for (int i = 0; i < 1000; ++i) {
    if (log.take("problem " + std::to_string(i), i)) ++lines;
  }
  EXPECT_EQ(lines, ConnectionProblemLog::kMaxLines);
}

}  // namespace
}  // namespace waystation::test
