#include "api/cluster.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "admission/keys.hpp"
#include "admission/options.hpp"
#include "api/option_table.hpp"
#include "api/options.hpp"
#include "audit/audit.hpp"
#include "cluster/engine_probe.hpp"
#include "cluster/redis_backplane.hpp"

namespace waystation {
namespace {

// An engine handles a message in one piece, while all others wait.
constexpr std::uint64_t kMaxMessageBytes = std::uint64_t{1} << 20;
constexpr std::size_t kMaxClusterName = 64;

const char* allowed_for(std::string_view option) {
  return find_option(option)->allowed;
}

/// The entries of `cluster`. Those of Sentinel have commas of their own: what does not begin like
/// an entry belongs to the one before.
std::vector<std::string> entries_of(const waystation_options& options) {
  std::vector<std::string> entries;
  for (auto& part : split_list(text_or_empty(options.cluster))) {
    if (entries.empty() || part.find("://") != std::string::npos) {
      entries.push_back(std::move(part));
    } else {
      entries.back() += "," + part;
    }
  }
  return entries;
}

bool is_cluster_name(std::string_view name) {
  constexpr std::string_view kCharacters =
      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
  return !name.empty() && name.size() <= kMaxClusterName &&
         name.find_first_not_of(kCharacters) == std::string_view::npos;
}

std::string cluster_name(const waystation_options& options) {
  auto name = text_or_empty(options.cluster_name);
  return name.empty() ? find_option("cluster_name")->default_text : name;
}

/// The keys, or the error.
Result<std::shared_ptr<const SealKeys>> read_keys(const waystation_options& options) {
  const auto path = text_or_empty(options.cluster_key_file);
  // Such a text must not be shown.
  if (is_pasted_key(path)) {
    return withheld_path("cluster_key_file", allowed_for("cluster_key_file"));
  }
  const auto wrong = [&path](std::string_view problem) {
    return option_error("cluster_key_file", in_quotes(path), problem,
                        allowed_for("cluster_key_file"));
  };
  SecretString file;
  if (auto problem = read_private_file(path, file); !problem.empty()) return wrong(problem);
  auto keys = SealKeys::parse(file.text);
  if (!keys) return wrong(keys.error());
  return std::move(*keys);
}

/// For a relay in a cluster.
std::optional<Error> check_message_size(const waystation_options& options) {
  if (options.max_message_bytes <= kMaxMessageBytes) return std::nullopt;
  return option_error("max_message_bytes", std::to_string(options.max_message_bytes),
                      "too large together with cluster",
                      "at most " + std::to_string(kMaxMessageBytes));
}

/// All but the keys and the log. Throws OptionError for options that were not checked.
ClusterOptions read_options(const waystation_options& options) {
  ClusterOptions read;
  for (const auto& entry : entries_of(options)) {
    auto address = parse_engine_address("cluster", entry);
    if (!address) throw OptionError(std::move(address.error()));
    read.engines.push_back(std::move(*address));
  }
  read.name = cluster_name(options);
  read.node_name = resolve_node_name(text_or_empty(options.node_name));
  return read;
}

waystation_log_level to_public(ClusterLog level) noexcept {
  switch (level) {
    case ClusterLog::error:
      return WAYSTATION_LOG_ERROR;
    case ClusterLog::warning:
      return WAYSTATION_LOG_WARNING;
    case ClusterLog::info:
      break;
  }
  return WAYSTATION_LOG_INFO;
}

class RedisCluster final : public Cluster {
 public:
  explicit RedisCluster(ClusterOptions options) : options_(std::move(options)) {}

  RelayService::BackplaneMaker backplane_maker() override {
    return [this](Loop& loop, Directory& directory, Fanout& fanout, Reachability& reachability,
                  NodeCalls& node) {
      auto made =
          std::make_unique<RedisBackplane>(loop, directory, fanout, reachability, node, options_);
      backplane_ = made.get();
      state_ = made->state();
      return made;
    };
  }

  void check_live(const waystation_options& options) const override {
    if (auto error = check_message_size(options)) throw OptionError(std::move(*error));
  }

  bool can_join(std::string_view group) const noexcept override { return state_->can_join(group); }

  void add_stats(waystation_stats& stats) const noexcept override {
    const auto& from = state_->stats;
    const auto read = [](const auto& counter) { return counter.load(std::memory_order_relaxed); };
    stats.cluster_engines = read(from.engines);
    stats.cluster_engines_ready = read(from.engines_ready);
    stats.cluster_nodes = read(from.nodes);
    stats.cluster_round_trip_us = read(from.round_trip_us);
    stats.cluster_unavailable = read(from.unavailable);
    stats.cluster_undecided = read(from.undecided);
    stats.cluster_partial = read(from.partial);
    stats.cluster_resubscriptions = read(from.resubscriptions);
    stats.cluster_frames_rejected = read(from.frames_rejected);
    stats.cluster_name_taken = read(from.name_taken);
    stats.cluster_round_trip_us_total = read(from.round_trip_us_total);
    stats.cluster_settings_differ = read(from.settings_differ);
  }

  LabelCounts round_trips() const override {
    LabelCounts counts;
    std::uint64_t count = 0;  // up to this bucket
    const auto& from = state_->stats.round_trips;
    for (std::size_t i = 0; i < from.size(); ++i) {
      count += from[i].load(std::memory_order_relaxed);
      const auto* const le = i < kRoundTripBuckets.size() ? kRoundTripBuckets[i].le.data() : "+Inf";
      counts.emplace_back(le, count);
    }
    return counts;
  }

  void leave(const std::shared_ptr<void>& until_left) noexcept override {
    backplane_->leave_cluster(until_left);
  }

 private:
  const ClusterOptions options_;
  RedisBackplane* backplane_ = nullptr;  // the service's, which destroys it when it stops
  std::shared_ptr<const ClusterState> state_;
};

}  // namespace

std::vector<Error> check_cluster(const waystation_options& options) {
  std::vector<Error> errors;
  if (const auto name = cluster_name(options); !is_cluster_name(name)) {
    errors.push_back(option_error("cluster_name", in_quotes(name), "not the name of a cluster",
                                  allowed_for("cluster_name")));
  }
  const auto entries = entries_of(options);
  if (entries.empty()) return errors;
  std::vector<EngineAddress> earlier;
  for (const auto& entry : entries) {
    auto address = parse_engine_address("cluster", entry);
    if (!address) {
      errors.push_back(std::move(address.error()));
      continue;
    }
    const auto same = std::ranges::find_if(
        earlier, [&](const auto& other) { return other.has_server_of(*address); });
    if (same != earlier.end()) {
      errors.push_back(option_error("cluster", in_quotes(address->describe()),
                                    same_server_clause(same->describe())));
    }
    earlier.push_back(std::move(*address));
  }
  if (text_or_empty(options.cluster_key_file).empty()) {
    errors.push_back(option_error("cluster_key_file", "\"\"", "missing, while cluster is set",
                                  allowed_for("cluster_key_file")));
  }
  if (auto error = check_message_size(options)) errors.push_back(std::move(*error));
  return errors;
}

std::vector<Error> check_cluster_files(const waystation_options& options) {
  if (entries_of(options).empty() || text_or_empty(options.cluster_key_file).empty()) return {};
  auto keys = read_keys(options);
  if (keys) return {};
  return {std::move(keys.error())};
}

std::vector<ClusterFinding> try_engines(const waystation_options& options,
                                        std::chrono::milliseconds deadline) {
  auto cluster = read_options(options);
  const auto& addresses = cluster.engines;
  std::vector<ClusterFinding> findings;
  if (addresses.empty()) return findings;
  if (auto keys = read_keys(options)) cluster.keys = std::move(*keys);
  const auto results = probe_engines(cluster, deadline);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& result = results[i];
    // Without user and password.
    const auto name = in_quotes(addresses[i].describe());
    const auto add = [&](waystation_log_level level, const std::string& clause) {
      findings.emplace_back(level, Error{"cluster", "cluster = " + name + ": " + clause});
    };
    if (!result.problem.empty()) {
      add(WAYSTATION_LOG_ERROR, result.problem);
      continue;
    }
    add(WAYSTATION_LOG_INFO, "connected, version " + result.version);
    for (std::size_t other = 0; other < i; ++other) {
      if (results[other].run_id != result.run_id) continue;
      add(WAYSTATION_LOG_ERROR, same_server_clause(addresses[other].describe()));
    }
    for (const auto& difference : result.differences) add(WAYSTATION_LOG_ERROR, difference);
    for (const auto& advice : result.advice) add(WAYSTATION_LOG_WARNING, advice);
  }
  return findings;
}

std::unique_ptr<Cluster> Cluster::make(const waystation_options& options, Log log) {
  auto made = read_options(options);
  if (made.engines.empty()) return nullptr;
  auto keys = read_keys(options);
  if (!keys) throw OptionError(std::move(keys.error()));
  made.keys = std::move(*keys);
  made.log = [log = std::move(log)](ClusterLog level, const std::string& line) {
    log(to_public(level), line);
  };
  return std::make_unique<RedisCluster>(std::move(made));
}

}  // namespace waystation
