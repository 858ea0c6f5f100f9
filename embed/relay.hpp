// The library's relay as an object.
#pragma once

#include <waystation/waystation.h>

#include <memory>

#include "embed/log.hpp"
#include "embed/relay_options.hpp"

namespace waystation::server {

struct FreeRelay {
  void operator()(waystation_relay* relay) const { waystation_free(relay); }
};
using Relay = std::unique_ptr<waystation_relay, FreeRelay>;

/// Starts a relay whose lines go to `log`, which must outlive it. Throws ConfigurationError where
/// an option is not allowed, std::runtime_error where memory, threads or descriptors ran out.
Relay start_relay(RelayOptions& options, Log& log);

/// Puts other options in force while sockets are open. Throws as start_relay; then everything stays
/// as it was.
void reconfigure_relay(waystation_relay* relay, const RelayOptions& options);

}  // namespace waystation::server
