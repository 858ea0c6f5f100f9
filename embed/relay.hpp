// The library's relay as an object.
#pragma once

#include <waystation/waystation.h>

#include <memory>
#include <string>
#include <vector>

#include "embed/log.hpp"
#include "embed/options.hpp"

namespace waystation::server {

/// Settings in the library's words. Holds the strings that its options point to.
class RelayOptions {
 public:
  /// `log` gets the relay's lines, and must outlive every relay made of these.
  RelayOptions(const Settings& settings, Log& log);
  RelayOptions(const RelayOptions&) = delete;
  RelayOptions& operator=(const RelayOptions&) = delete;

  const waystation_options* get() const { return &options_; }

 private:
  const char* keep(const std::vector<std::string>& list);

  Settings settings_;
  std::vector<std::unique_ptr<std::string>> joined_;
  waystation_options options_;
};

struct FreeRelay {
  void operator()(waystation_relay* relay) const { waystation_free(relay); }
};
using Relay = std::unique_ptr<waystation_relay, FreeRelay>;

/// Starts a relay. Throws ConfigurationError where an option is not allowed, std::runtime_error
/// where the machine has no room for it.
Relay start_relay(const RelayOptions& options);

/// Puts other options in force while sockets are open. Throws as start_relay; then everything stays
/// as it was.
void reconfigure_relay(waystation_relay* relay, const RelayOptions& options);

}  // namespace waystation::server
