#include "relay/observer.hpp"

namespace waystation {

std::string_view end_reason_name(EndReason reason) noexcept {
  switch (reason) {
    case EndReason::closed:
      return "closed";
    case EndReason::slow:
      return "slow";
    case EndReason::dead:
      return "dead";
    case EndReason::ended:
      return "ended";
    case EndReason::expired:
      return "expired";
    case EndReason::violation:
      return "violation";
    case EndReason::going_away:
      return "going_away";
    case EndReason::failed:
      break;
  }
  return "failed";
}

}  // namespace waystation
