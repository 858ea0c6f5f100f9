// `waystation serve` and `waystation config`.
#pragma once

#include "embed/configuration.hpp"

namespace waystation::server {

/// Serves until SIGTERM or SIGINT; SIGHUP reads the configuration again. To be called before the
/// process has other threads. Returns the exit code; throws ConfigurationError for a mistake in
/// the configuration, std::runtime_error where the machine does not play along.
int serve(const ConfigurationSources& sources);

/// Checks what `serve` would check, down to the relay itself, and says so on standard output.
int config_check(const ConfigurationSources& sources);

/// Prints the effective settings and where each comes from.
int config_show(const ConfigurationSources& sources);

}  // namespace waystation::server
