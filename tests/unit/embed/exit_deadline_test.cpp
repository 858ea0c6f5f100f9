#include "embed/exit_deadline.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <new>

using testing::ExitedWithCode;
using waystation::server::ExitDeadline;

namespace {

using Clock = ExitDeadline::Clock;

[[noreturn]] void hang() {
  for (;;) pause();
}

}  // namespace

// Each test runs in a separate process.
class ExitDeadlineDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(ExitDeadlineDeathTest, EndsAHangingProcessAndLogsIt) {
  EXPECT_EXIT(
      {
        ExitDeadline exit_deadline{[] { std::fputs("it was cut\n", stderr); }};
        exit_deadline.set(Clock::now());
        hang();
      },
      ExitedWithCode(0), "it was cut");
}

TEST_F(ExitDeadlineDeathTest, EndsTheProcessEvenIfTheLogBlocks) {
  EXPECT_EXIT(
      {
        ExitDeadline exit_deadline{hang};
        exit_deadline.set(Clock::now());
        hang();
      },
      ExitedWithCode(0), "");
}

TEST_F(ExitDeadlineDeathTest, EndsTheProcessEvenWithoutMemoryForTheLog) {
  EXPECT_EXIT(
      {
        ExitDeadline exit_deadline{[] { throw std::bad_alloc{}; }};
        exit_deadline.set(Clock::now());
        hang();
      },
      ExitedWithCode(0), "");
}

TEST_F(ExitDeadlineDeathTest, DoesNothingIfTheProcessEndsInTime) {
  EXPECT_EXIT(
      {
        {
          ExitDeadline exit_deadline{hang};
          exit_deadline.set(Clock::now() + std::chrono::hours(1));
        }
        std::_Exit(3);
      },
      ExitedWithCode(3), "");
}
