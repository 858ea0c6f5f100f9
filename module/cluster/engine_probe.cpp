#include "cluster/engine_probe.hpp"

#include <future>
#include <memory>
#include <utility>

#include "cluster/engine_settings.hpp"
#include "cluster/node_settings.hpp"
#include "cluster/redis_connection.hpp"
#include "cluster/scripts.hpp"
#include "cluster/sentinel.hpp"
#include "reactor/reactor.hpp"

namespace waystation {
namespace {

/// One server. Everything but the future is for the reactor's thread.
class Probe final : private RedisConnection::Listener {
 public:
  Probe(Loop& loop, Resolver& resolver, const ClusterOptions& cluster, std::size_t engine)
      : scripts_(ChannelNames(cluster.name), cluster.times),
        locator_(make_locator(loop, resolver, cluster.engines[engine])),
        connection_(loop, *locator_, options(cluster.engines[engine]), *this) {
    entry_.name = cluster.node_name;
    if (cluster.keys) {
      entry_.settings =
          describe_settings(*cluster.keys, cluster.name, engine + 1, cluster.engines.size());
    }
    connection_.start();
  }

  std::future<EngineFindings> result() { return result_.get_future(); }

 private:
  static RedisConnectionOptions options(const EngineAddress& address) {
    RedisConnectionOptions options;
    options.user = address.user;
    options.password = address.password;
    options.database = address.database;
    options.client_name = "waystation-check";
    return options;
  }

  void on_ready() noexcept override {
    try {
      findings_.version = connection_.version();
      findings_.run_id = connection_.run_id();
      check_engine_settings(connection_,
                            [this](const std::string& line) { findings_.advice.push_back(line); });
      // Its replies follow those.
      scripts_.load(connection_, [this](const std::string& problem) {
        if (problem.empty()) return compare_settings();
        findings_.problem = problem;
        finish();
      });
    } catch (const std::bad_alloc&) {
      finish();
    }
  }

  void compare_settings() {
    entry_.run_id = connection_.run_id();
    scripts_.list_nodes(connection_, entry_, [this](const std::vector<TableEntry>* nodes) {
      if (!connection_.is_ready()) return;  // see on_lost()
      if (nodes == nullptr) {
        findings_.problem =
            "the table of nodes cannot be read; give the user the rights that redis.conf names";
        return finish();
      }
      for (const auto& node : *nodes) {
        if (node.difference.empty()) continue;
        findings_.differences.push_back(
            describe_difference(entry_.settings, node.name, node.difference));
      }
      finish();
    });
  }

  void on_lost(std::string_view reason, bool) noexcept override {
    findings_.problem = reason;
    finish();
  }

  void finish() noexcept {
    if (!std::exchange(is_finished_, true)) result_.set_value(std::move(findings_));
  }

  const Scripts scripts_;
  NodeEntry entry_;
  std::unique_ptr<EngineLocator> locator_;
  RedisConnection connection_;
  EngineFindings findings_;
  bool is_finished_ = false;
  std::promise<EngineFindings> result_;
};

/// What the reactor's thread makes and destroys.
struct Probes {
  explicit Probes(Loop& loop) : resolver(loop) {}
  Resolver resolver;
  std::vector<std::unique_ptr<Probe>> probes;
};

}  // namespace

std::vector<EngineFindings> probe_engines(const ClusterOptions& cluster,
                                          std::chrono::milliseconds deadline) {
  Reactor reactor({});
  std::unique_ptr<Probes> probes;
  std::promise<std::vector<std::future<EngineFindings>>> started;
  reactor.post([&] {
    try {
      probes = std::make_unique<Probes>(reactor);
      std::vector<std::future<EngineFindings>> results;
      for (std::size_t i = 0; i < cluster.engines.size(); ++i) {
        probes->probes.push_back(std::make_unique<Probe>(reactor, probes->resolver, cluster, i));
        results.push_back(probes->probes.back()->result());
      }
      started.set_value(std::move(results));
    } catch (...) {
      started.set_exception(std::current_exception());
    }
  });
  auto results = started.get_future().get();
  const auto until = std::chrono::steady_clock::now() + deadline;
  std::vector<EngineFindings> findings;
  for (auto& result : results) {
    if (result.wait_until(until) == std::future_status::ready) {
      findings.push_back(result.get());
    } else {
      findings.push_back({"no answer in time", {}, {}, {}, {}});
    }
  }
  reactor.stop();
  probes.reset();  // before the loop
  return findings;
}

}  // namespace waystation
