// Conversion of what a user missed for the C interface.
#pragma once

#include "api/guarded.hpp"
#include "relay/missed.hpp"
#include "waystation/waystation.h"

namespace waystation {

using MissedVisit = int (*)(void* user_data, const waystation_missed_sender* sender);

/// Writes the answer to the caller's `result` and passes its senders to `visit`, until that returns
/// 0.
inline void give_missed(const Missed& missed, MissedVisit visit, void* user_data,
                        waystation_missed_result& result) {
  waystation_missed_result whole{};
  whole.notifications = missed.notifications;
  whole.complete = missed.complete ? 1 : 0;
  copy_text(whole.next, missed.next);
  write_sized(result, whole);
  for (const auto& sender : missed.from) {
    const waystation_missed_sender out{sizeof out, sender.user.c_str(), sender.count, sender.first,
                                       sender.last};
    if (visit(user_data, &out) == 0) return;
  }
}

}  // namespace waystation
