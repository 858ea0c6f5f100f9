#include "embed/exit_deadline.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

using testing::ExitedWithCode;
using waystation::server::ExitDeadline;

namespace {

using Clock = ExitDeadline::Clock;

[[noreturn]] void hang() {
  for (;;) pause();
}

}  // namespace

// Each runs in a process of its own.
class ExitDeadlineDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(ExitDeadlineDeathTest, EndsAProcessThatHangsAndSaysSo) {
  EXPECT_EXIT(
      {
        ExitDeadline exit_deadline;
        exit_deadline.set(Clock::now(), [] { std::fputs("it was cut\n", stderr); });
        hang();
      },
      ExitedWithCode(0), "it was cut");
}

TEST_F(ExitDeadlineDeathTest, EndsItAlsoWhereItsLastWordsHang) {
  EXPECT_EXIT(
      {
        ExitDeadline exit_deadline;
        exit_deadline.set(Clock::now(), hang);
        hang();
      },
      ExitedWithCode(0), "");
}

TEST_F(ExitDeadlineDeathTest, LeavesAnEndInTimeAlone) {
  EXPECT_EXIT(
      {
        {
          ExitDeadline exit_deadline;
          exit_deadline.set(Clock::now() + std::chrono::hours(1), hang);
        }
        std::_Exit(3);
      },
      ExitedWithCode(3), "");
}
