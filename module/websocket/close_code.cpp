#include "websocket/close_code.hpp"

namespace waystation {

bool may_be_sent(std::uint16_t code) noexcept {
  // 1004 is reserved. 1005, 1006 and 1015 are for local use and never sent.
  if (code >= 1000 && code <= 1014) return code != 1004 && code != 1005 && code != 1006;
  return code >= 3000 && code <= 4999;
}

}  // namespace waystation
