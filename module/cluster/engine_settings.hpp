// Whether a server of Redis or Valkey is set up for a cluster.
#pragma once

#include <functional>
#include <string>

#include "cluster/redis_connection.hpp"

namespace waystation {

/// Reads settings of the server and calls `advise` with a line for each that should be changed:
/// "<setting> = <value>: <what follows>; set <value>". If the server refuses to answer (ACL), one
/// line says that nothing was checked. The calls come later, on the loop's thread. `advise` may
/// throw std::bad_alloc. Throws std::bad_alloc.
void check_engine_settings(RedisConnection& connection,
                           const std::function<void(const std::string& line)>& advise);

}  // namespace waystation
