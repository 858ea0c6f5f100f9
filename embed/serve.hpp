// `waystation serve` and `waystation config`.
#pragma once

#include "embed/configuration.hpp"

namespace waystation::server {

// Exit codes of the program, beside 0.
inline constexpr int kFailed = 1;
inline constexpr int kMistaken = 2;

/// Serves until SIGTERM or SIGINT; SIGHUP reads the configuration again. To be called before the
/// process has other threads. Returns the exit code, and has logged why where that is not 0; throws
/// ConfigurationError for mistakes in the configuration, unless the log is JSON.
int serve(const ConfigurationSources& sources);

/// Checks everything that `serve` checks, opens no port and writes no file. Throws
/// ConfigurationError with all mistakes.
int config_check(const ConfigurationSources& sources);

/// Prints the effective settings and where each comes from.
int config_show(const ConfigurationSources& sources);

}  // namespace waystation::server
