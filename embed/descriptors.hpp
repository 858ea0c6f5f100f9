// The process's limit of open descriptors. Every adopted socket takes one, and so does every
// connection of the web server.
#pragma once

#include <cstdint>

namespace waystation::server {

/// CivetWeb's worker threads. A worker is busy while it reads a request and writes a response. It
/// does not serve adopted sockets. Twenty workers serve thousands of pages a second. More do not
/// shorten the wait beside slow connections, and cost memory: SECURITY.md has the measurements.
inline constexpr std::uint32_t kWorkers = 20;

/// Raises the soft limit to the hard limit, and returns the new limit. The library itself never
/// does this, because a host application may use select().
std::uint64_t raise_descriptor_limit();

/// Maximum number of accepted connections that wait for a worker. After a restart, thousands of
/// clients reconnect within two seconds. At most an eighth of the descriptor limit.
std::uint32_t connection_queue();

/// Number of descriptors reserved for CivetWeb's connections, the listeners and the audit's files.
/// Without the reserve, adopted sockets could take all descriptors, and CivetWeb would then retry
/// accept() in a busy loop.
std::uint32_t own_descriptors();

}  // namespace waystation::server
