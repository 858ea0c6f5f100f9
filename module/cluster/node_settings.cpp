#include "cluster/node_settings.hpp"

#include "base/error.hpp"

namespace waystation {

std::string describe_settings(const SealKeys& keys, std::string_view cluster, std::size_t place,
                              std::size_t engines) {
  return std::to_string(place) + "/" + std::to_string(engines) + ":" + keys.ids(cluster);
}

std::string describe_difference(std::string_view own, std::string_view node,
                                std::string_view difference) {
  constexpr std::string_view kKeysAdvice =
      "; copy the same cluster_key_file to every node, and change a key in three steps only";
  const auto other = "node " + in_quotes(node);
  if (difference == "own_keys") {
    return other + " seals with a key that this node does not have" + std::string(kKeysAdvice);
  }
  if (difference == "other_keys") {
    return other + " does not have the key that this node seals with" + std::string(kKeysAdvice);
  }
  return "this server is entry " + std::string(own.substr(0, own.find(':'))) +
         " of cluster here, and entry " + std::string(difference) + " at " + other +
         "; give every node the same list in the same order";
}

}  // namespace waystation
