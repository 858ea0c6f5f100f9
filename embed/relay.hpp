// Starting and reconfiguring the library's relay.
#pragma once

#include <waystation/waystation.h>

#include <memory>

#include "embed/log.hpp"
#include "embed/relay_options.hpp"

namespace waystation::server {

struct FreeRelay {
  void operator()(waystation_relay* relay) const { waystation_free(relay); }
};
using RelayHandle = std::unique_ptr<waystation_relay, FreeRelay>;

/// Starts a relay that logs to `log`, which must outlive it. Throws ConfigurationError for an
/// invalid option, and std::runtime_error if memory, threads or descriptors run out.
RelayHandle start_relay(LibraryOptions& options, Log& log);

/// Applies other options while sockets are open. Throws as start_relay, and then changes nothing.
void reconfigure_relay(waystation_relay* relay, const LibraryOptions& options);

}  // namespace waystation::server
