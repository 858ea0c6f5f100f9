// The nodes of a cluster, for operators.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace waystation {

/// A node of the cluster.
struct NodeInfo {
  std::string name;
  std::string incarnation;     // the first 8 digits; empty: not known
  bool is_ready = false;       // it has all its subscriptions, on every engine
  bool is_own = false;         // this node
  std::int64_t silent_ms = 0;  // since it was last heard of
};

struct NodeList {
  std::vector<NodeInfo> nodes;  // by name
  bool is_partial = false;      // an engine did not answer
};

}  // namespace waystation
