// The part of a relay that connects it with other nodes.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/stats.hpp"
#include "base/error.hpp"
#include "reactor/relay_service.hpp"
#include "waystation/waystation.h"

namespace waystation {

/// All errors in the values of the options of the group "cluster". Reads no files.
std::vector<Error> check_cluster(const waystation_options& options);
/// The errors in the key file; none where check_cluster() finds errors.
std::vector<Error> check_cluster_files(const waystation_options& options);

/// A finding about an engine: an error, a warning, or that it can be used (info).
using ClusterFinding = std::pair<waystation_log_level, Error>;

/// Tries the engines of checked options, for `deadline` at most. See probe_engines() for what it
/// throws.
std::vector<ClusterFinding> try_engines(const waystation_options& options,
                                        std::chrono::milliseconds deadline);

/// This node's part of a cluster.
class Cluster {
 public:
  using Log = std::function<void(waystation_log_level, const std::string&)>;

  /// Null without `cluster`. Needs checked options. `log` must not throw. Throws OptionError (for
  /// the key file) or std::bad_alloc.
  static std::unique_ptr<Cluster> make(const waystation_options& options, Log log);
  virtual ~Cluster() = default;

  /// For RelayService, which owns what is made.
  virtual RelayService::BackplaneMaker backplane_maker() = 0;

  // The rest is for the time after the call of the maker.

  /// Throws OptionError for live options that a relay in a cluster cannot have. Any thread.
  virtual void check_live(const waystation_options& options) const = 0;
  /// Whether a socket that joins now is likely to be confirmed; `group` is empty for push. Any
  /// thread.
  virtual bool can_join(std::string_view group) const noexcept = 0;
  /// Writes the fields of the group "cluster". Any thread.
  virtual void add_stats(waystation_stats& stats) const noexcept = 0;
  /// The buckets of WAYSTATION_COUNTER_CLUSTER_ROUND_TRIPS. Any thread. Throws std::bad_alloc.
  virtual LabelCounts round_trips() const = 0;
  /// Tells the other nodes that this one ends. `until_left` is released once every engine that
  /// can be reached knows. The reactor's thread, which the service ends.
  virtual void leave(const std::shared_ptr<void>& until_left) noexcept = 0;
};

}  // namespace waystation
