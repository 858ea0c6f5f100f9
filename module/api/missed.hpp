// Conversion of what a user missed for the C interface.
#pragma once

#include <cstdint>
#include <memory>

#include "api/guarded.hpp"
#include "relay/missed.hpp"
#include "waystation/waystation.h"

namespace waystation {

using MissedVisit = int (*)(void* user_data, const waystation_missed_sender* sender);

/// Throws std::invalid_argument.
inline void check_since(std::int64_t since) {
  require(since >= 0 && since <= kMaxJsonInteger,
          "since: not a time; pass ms since 1970, from 0 to 9007199254740991");
}

/// Writes the answer to the caller's `result` and passes its senders to `visit`, until that returns
/// 0.
inline void give_missed(const Missed& missed, MissedVisit visit, void* user_data,
                        waystation_missed_result& result) {
  // Not on the caller's stack, which may be small.
  const auto memory = std::make_unique<waystation_missed_result>();
  auto& whole = *memory;
  whole.notifications = missed.notifications;
  whole.complete = missed.complete ? 1 : 0;
  static_assert(sizeof whole.next > MissedCursor::kMaxBytes);
  copy_text(whole.next, missed.next);
  write_sized(result, whole);
  for (const auto& sender : missed.from) {
    const waystation_missed_sender out{sizeof out, sender.user.c_str(), sender.count, sender.first,
                                       sender.last};
    if (visit(user_data, &out) == 0) return;
  }
}

}  // namespace waystation
