// How the audit's writer shares the processors.
#pragma once

#include <chrono>

namespace waystation {

/// The work of one thread, cut into turns with a rest after each. A low priority alone does not
/// keep it out of the others' way: while it runs, however low, its processor is not idle, and two
/// threads that could have one each wait for each other on what is left. In a rest one of them
/// moves over.
class WorkTurns {
 public:
  using Clock = std::chrono::steady_clock;

  /// Of the wall: work without a rest, and the rest, to which Linux adds a timer's slack of 50 us
  /// (prctl(2), PR_SET_TIMERSLACK). A turn is shorter than what a message takes from its sender to
  /// its receiver on a busy machine, so that it hardly shows; the rest need only be long enough for
  /// somebody to wake, who then takes the idle processor.
  static constexpr std::chrono::microseconds kTurn{200};
  static constexpr std::chrono::microseconds kRest{20};

  /// Between two pieces of work much shorter than a turn: sleeps where more than a turn has passed
  /// since the last rest at `now`, and says so.
  bool rest_if_due(Clock::time_point now = Clock::now()) noexcept;

 private:
  Clock::time_point begin_{};  // of the turn
};

}  // namespace waystation
