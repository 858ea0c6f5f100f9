// What the nodes of a cluster must have in common.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "cluster/seal.hpp"

namespace waystation {

/// What a node shows the others in the table of nodes of one engine: "<place>/<engines>:<keys>".
/// `place` is that of the engine in `cluster`, from 1. The keys are SealKeys::ids(). Throws
/// std::bad_alloc.
std::string describe_settings(const SealKeys& keys, std::string_view cluster, std::size_t place,
                              std::size_t engines);

/// A clause for a log line: what keeps the node with settings `own` from working with node `node`,
/// and what to do. `difference` is Registration::difference. Throws std::bad_alloc.
std::string describe_difference(std::string_view own, std::string_view node,
                                std::string_view difference);

}  // namespace waystation
