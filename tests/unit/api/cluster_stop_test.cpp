// A relay with a cluster is freed while calls run.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>

#include "unit/api/embedder.hpp"

namespace waystation::test {
namespace {

/// The key of a cluster in a file, deleted by the destructor.
class ClusterKeyFile {
 public:
  ClusterKeyFile() {
    std::ofstream(path_) << "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    std::filesystem::permissions(path_, std::filesystem::perms::owner_read);
  }
  ~ClusterKeyFile() { std::filesystem::remove(path_); }
  ClusterKeyFile(const ClusterKeyFile&) = delete;
  ClusterKeyFile& operator=(const ClusterKeyFile&) = delete;
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_ = testing::TempDir() + "waystation-cluster-key-" + std::to_string(getpid());
};

// Both read what the backplane writes, and the backplane has ended. Needs AddressSanitizer to fail.
TEST(ClusterStop, CallsThatRunMayReadTheStatsAndTheReadiness) {
  struct Host {
    Listener engine;  // accepts connections and never answers
    std::promise<FileDescriptor> connected;
    std::promise<void> entered;
    waystation_relay* relay = nullptr;
    std::promise<waystation_stats> stats;
  } host;
  const ClusterKeyFile key;
  const auto engine = "redis://127.0.0.1:" + std::to_string(host.engine.port());
  auto options = default_options();
  options.cluster = engine.c_str();
  options.cluster_key_file = key.path().c_str();
  options.auth = WAYSTATION_AUTH_CALLBACK;
  options.user_data = &host;
  options.identify = [](void* data, const waystation_request*, waystation_identity* identity) {
    auto& self = *static_cast<Host*>(data);
    const auto connection = self.connected.get_future().get();
    self.entered.set_value();
    while (receive_some(connection.get()).end == Received::End::none) {
    }
    // The backplane has closed its connection. For all its memory to be freed, read for a while.
    waystation_stats stats{};
    stats.size = sizeof stats;
    for (int i = 0; i < 10'000; ++i) {
      EXPECT_EQ(waystation_stats_read(self.relay, &stats), WAYSTATION_OK);
    }
    self.stats.set_value(stats);
    std::string("alice").copy(identity->user, 5);
    return 1;  // now the readiness is read
  };
  Embedded relay(options);
  host.relay = relay.get();
  host.connected.set_value(host.engine.accept());
  int status = 0;
  std::thread worker([&] { relay.knock("/push/alice/", "", nullptr, &status); });
  host.entered.get_future().wait();
  relay.free();
  worker.join();
  EXPECT_EQ(status, 503);
  EXPECT_EQ(host.stats.get_future().get().cluster_engines, 1U);
}

}  // namespace
}  // namespace waystation::test
