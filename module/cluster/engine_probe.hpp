// Tries the servers of a cluster without being a node.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "cluster/cluster_options.hpp"

namespace waystation {

/// What was found out about one server: a clause each, for "<address>: <clause>".
struct EngineFindings {
  std::string problem;              // it cannot be used; empty: it can
  std::string version;              // where it can
  std::string run_id;               // where it can; of two addresses of one server, the same
  std::vector<std::string> advice;  // see check_engine_settings()
  // Nodes that are connected there and keep this one from entering: see describe_difference().
  std::vector<std::string> differences;
};

/// Connects to each engine of the options and logs in, on a separate thread, and waits for it at
/// most until `deadline`. Reads the table of nodes, and does not enter it. The result has one
/// element for each engine. Throws std::system_error where no thread or descriptor can be had, and
/// std::bad_alloc.
std::vector<EngineFindings> probe_engines(const ClusterOptions& cluster,
                                          std::chrono::milliseconds deadline);

}  // namespace waystation
