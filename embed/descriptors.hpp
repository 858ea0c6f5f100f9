// How many descriptors this process may open.
#pragma once

#include <cstdint>

namespace waystation::server {

/// Raises the soft limit to the hard one, as a server that holds a descriptor for each socket may,
/// and returns what it is then. The library never does that: a host may use select().
std::uint64_t raise_descriptor_limit();

/// The descriptors that the server needs for itself: listeners, workers and their connections,
/// those that wait for a worker, logs, the relay's own.
inline constexpr std::uint64_t kOwnDescriptors = 1200;

}  // namespace waystation::server
