// Whether a server of Redis or Valkey is set up for a cluster.
#pragma once

#include <functional>
#include <string>

#include "cluster/redis_connection.hpp"

namespace waystation {

/// Reads settings of the server and calls `advise` with a line for each that should be changed:
/// "<setting> = <value>: <what follows>; set <value>". The calls come later, on the loop's thread;
/// none where the server does not tell (ACL). `advise` must not throw. Throws std::bad_alloc.
void check_engine_settings(RedisConnection& connection,
                           const std::function<void(const std::string& line)>& advise);

}  // namespace waystation
