// `waystation serve` and `waystation config`.
#pragma once

#include "embed/configuration.hpp"

namespace waystation::server {

// Exit codes of the program other than 0.
inline constexpr int kFailed = 1;
inline constexpr int kUsageError = 2;

/// Serves until SIGTERM or SIGINT. SIGHUP reads the configuration again. Call it before the process
/// has other threads. Returns the exit code, and logs the reason of a code other than 0. Throws
/// ConfigurationError for mistakes in the configuration, except if the log is JSON.
int serve(const ConfigurationSources& sources);

/// Runs every check of `serve`, but opens no port and writes no file. Throws ConfigurationError
/// with all mistakes. `is_online`: then connects to the servers of `cluster`, and returns 1 if one
/// cannot be used.
int config_check(const ConfigurationSources& sources, bool is_online);

/// Prints the effective settings and the source of each.
int config_show(const ConfigurationSources& sources);

}  // namespace waystation::server
