// The clock and the timer of the relay's thread, which relay/ does not have.
#pragma once

#include <cstdint>

#include "relay/now.hpp"

namespace waystation {

/// For parts of the relay that have work to do later, or too much work for one round.
class Scheduler {
 public:
  virtual const Now& now() const noexcept = 0;

  /// Calls run() of all such parts once when `steady_ms` has come; if that is now, at the end of
  /// this round, or in the next one where run() itself asks. Of several times, the first counts.
  virtual void run_at(std::int64_t steady_ms) noexcept = 0;

 protected:
  ~Scheduler() = default;
};

}  // namespace waystation
