// What a node needs to know to be one of a cluster.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/engine_address.hpp"
#include "cluster/scripts.hpp"
#include "cluster/seal.hpp"
#include "relay/missed.hpp"

namespace waystation {

enum class ClusterLog : std::uint8_t { error, warning, info };

struct ClusterOptions {
  std::vector<EngineAddress> engines;  // one a shard, in the same order on all nodes; not empty
  std::string name;                    // of the cluster: see ChannelNames
  std::string node_name;               // see NodeEntry
  std::shared_ptr<const SealKeys> keys;
  NodeTimes times;
  /// How long a question what a user missed waits for the answers of all nodes: each one asks its
  /// disk. The quarter of a second is for the way there and back. The HTTP API waits 5 s.
  std::int64_t missed_deadline_ms = MissedSource::kAnswerTime.count() + 250;
  /// Gets lines for the log. On the reactor's thread; must not throw.
  std::function<void(ClusterLog, const std::string&)> log;
};

}  // namespace waystation
