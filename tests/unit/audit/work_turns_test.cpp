#include "audit/work_turns.hpp"

#include <gtest/gtest.h>

namespace waystation {
namespace {

using namespace std::chrono_literals;
using Clock = WorkTurns::Clock;

TEST(WorkTurns, RestOnceATurnIsOver) {
  WorkTurns turns;
  const Clock::time_point begin{};
  EXPECT_FALSE(turns.rest_if_due(begin + WorkTurns::kTurn - 1us));
  const auto before = Clock::now();
  EXPECT_TRUE(turns.rest_if_due(begin + WorkTurns::kTurn));
  EXPECT_GE(Clock::now() - before, WorkTurns::kRest);
}

TEST(WorkTurns, BeginAgainAfterTheRest) {
  WorkTurns turns;
  const auto before = Clock::now();
  ASSERT_TRUE(turns.rest_if_due(before));
  EXPECT_FALSE(turns.rest_if_due(before + WorkTurns::kRest + WorkTurns::kTurn - 1us));
  EXPECT_TRUE(turns.rest_if_due(Clock::now() + WorkTurns::kTurn));
}

}  // namespace
}  // namespace waystation
