// What the tests of connections have in common.
#pragma once

#include <string_view>

#include "reactor/reactor.hpp"

namespace waystation::test {

/// The response to each upgrade.
inline constexpr std::string_view kResponse = "HTTP/1.1 101 Switching Protocols\r\n\r\n";

/// The response to one that the session does not accept.
inline constexpr std::string_view kRefusal = "HTTP/1.1 503 Service Unavailable\r\n\r\n";

/// Options under which no ping comes between the frames of a test.
inline ReactorOptions without_pings() {
  ReactorOptions options;
  options.ping_interval_seconds = 3600;
  return options;
}

}  // namespace waystation::test
