// Parsing and formatting of times on the command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace waystation::server {

/// Reads a time into ms since 1970. Returns nothing if `text` is not a time. Formats:
///   2026-03-01   2026-03-01 14:30   2026-03-01T14:30:05.250   local time
///   2026-03-01T13:30:05Z   2026-03-01T14:30:05+01:00          with a time zone
///   now   today   yesterday   90s   30m   2h   3d   1w         relative to `now_ms`
///   1772371805250                                             ms since 1970.
std::optional<std::int64_t> parse_time(std::string_view text, std::int64_t now_ms);

/// The formats of parse_time(), for error texts.
std::string_view allowed_times();

/// "2026-03-01 14:30:05.250", in local time.
std::string local_time(std::int64_t ms);
/// "2026-03-01T13:30:05.250Z".
std::string utc_time(std::int64_t ms);

}  // namespace waystation::server
