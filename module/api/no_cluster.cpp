// In place of cluster.cpp, in a build without WAYSTATION_CLUSTER.
#include "api/cluster.hpp"
#include "api/options.hpp"

namespace waystation {

std::vector<Error> check_cluster(const waystation_options& options) {
  if (text_or_empty(options.cluster).empty()) return {};
  // It may hold passwords.
  return {option_error("cluster", "\"***\"", "this build cannot connect several nodes",
                       "an empty list, or build with WAYSTATION_CLUSTER=ON")};
}

std::vector<Error> check_cluster_files(const waystation_options&) {
  return {};
}

std::vector<ClusterFinding> try_engines(const waystation_options&, std::chrono::milliseconds) {
  return {};
}

std::unique_ptr<Cluster> Cluster::make(const waystation_options&, Log) {
  return nullptr;
}

}  // namespace waystation
