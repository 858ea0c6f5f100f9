// The C functions of a relay with a cluster.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <utility>

#include "support/memory.hpp"
#include "unit/api/embedder.hpp"
#include "unit/cluster/redis_server.hpp"

namespace waystation::test {
namespace {

/// Options of a relay that joins a cluster, whose key is in a folder of its own.
class ClusterApiTest : public testing::Test {
 protected:
  ClusterApiTest() {
    std::ofstream(key_) << "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    std::filesystem::permissions(key_, std::filesystem::perms::owner_read);
    options_.cluster_key_file = key_.c_str();
  }
  void set_cluster(std::string cluster) {
    cluster_ = std::move(cluster);
    options_.cluster = cluster_.c_str();
  }

  const TemporaryFolder folder_;
  const std::string key_ = folder_.path() / "key";
  std::string cluster_;
  waystation_options options_ = default_options();
};

// Both read what the backplane wrote before its end. Needs AddressSanitizer to fail.
TEST_F(ClusterApiTest, CallsThatRunWhileTheRelayIsFreedMayReadTheStatsAndTheReadiness) {
  struct Host {
    std::string wal;
    std::promise<void> entered;
    waystation_relay* relay = nullptr;
    waystation_stats stats{};
  } host;
  const std::string audit = folder_.path() / "audit.db";
  host.wal = audit + "-wal";
  const Listener engine;  // never answers
  set_cluster("redis://127.0.0.1:" + std::to_string(engine.port()));
  options_.audit_file = audit.c_str();
  options_.auth = WAYSTATION_AUTH_CALLBACK;
  options_.user_data = &host;
  options_.identify = [](void* data, const waystation_request*, waystation_identity* identity) {
    auto& self = *static_cast<Host*>(data);
    EXPECT_TRUE(eventually([&] { return std::filesystem::exists(self.wal); }));
    self.entered.set_value();
    // The audit ends after the backplane.
    EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(self.wal); }));
    self.stats.size = sizeof self.stats;
    EXPECT_EQ(waystation_stats_read(self.relay, &self.stats), WAYSTATION_OK);
    std::string("alice").copy(identity->user, 5);
    return 1;  // now the readiness is read
  };
  Embedded relay(options_);
  host.relay = relay.get();
  int status = 0;
  std::thread worker([&] { relay.knock("/push/alice/", "", nullptr, &status); });
  host.entered.get_future().wait();
  relay.free();
  worker.join();
  EXPECT_EQ(status, 503);
  EXPECT_EQ(host.stats.cluster_engines, 1U);
}

// The host application has no audit, and may end at once.
TEST_F(ClusterApiTest, AfterADrainTheOtherNodesDoNotWaitForThisOne) {
  const RedisServer engine;
  set_cluster("unix://" + engine.path());
  options_.node_name = "leaver";
  const auto is_in_table = [&] {
    return engine.ask({"HEXISTS", "ws1:waystation:nodes", "leaver"}) == "1";
  };
  const Embedded relay(options_);
  ASSERT_TRUE(eventually([&] { return relay.stats().cluster_engines_ready == 1; }));
  EXPECT_TRUE(is_in_table());
  EXPECT_EQ(waystation_drain(relay.get(), 10'000), WAYSTATION_OK);
  EXPECT_FALSE(is_in_table());
  EXPECT_EQ(waystation_drain(relay.get(), 10'000), WAYSTATION_OK) << "a further one is harmless";
}

TEST_F(ClusterApiTest, ADrainWithoutMemoryWritesTheRowsOfTheAudit) {
  const RedisServer engine;
  set_cluster("unix://" + engine.path());
  const std::string file = folder_.path() / "audit.db";
  options_.audit_file = file.c_str();
  const Embedded relay(options_);
  ASSERT_TRUE(eventually([&] {
    const auto stats = relay.stats();
    return stats.cluster_engines_ready == 1 && stats.audit_state == WAYSTATION_AUDIT_OK;
  }));
  relay.push("nobody");
  auto status = WAYSTATION_INTERNAL;
  {
    const NoMemoryHere none_left;
    status = waystation_drain(relay.get(), 10'000);
  }
  EXPECT_EQ(status, WAYSTATION_OK);
  waystation_audit* audit = nullptr;
  ASSERT_EQ(waystation_audit_open(file.c_str(), &audit, nullptr), WAYSTATION_OK);
  waystation_audit_filter everything{};
  everything.size = sizeof everything;
  waystation_audit_counts counts{};
  counts.size = sizeof counts;
  EXPECT_EQ(waystation_audit_count(audit, &everything, &counts, nullptr), WAYSTATION_OK);
  EXPECT_EQ(counts.undelivered, 1U);
  waystation_audit_close(audit);
}

TEST_F(ClusterApiTest, LiveOptionsKeepTheLimitsOfACluster) {
  const RedisServer engine;
  set_cluster("unix://" + engine.path());
  const Embedded relay(options_);
  auto changed = options_;
  changed.cluster = nullptr;  // it is not live
  changed.max_queue_bytes = 64 << 20;
  changed.max_message_bytes = 8 << 20;
  waystation_error error{};
  error.size = sizeof error;
  EXPECT_EQ(waystation_reconfigure(relay.get(), &changed, &error), WAYSTATION_INVALID);
  EXPECT_STREQ(error.option, "max_message_bytes");
  changed.max_message_bytes = 1 << 20;
  EXPECT_EQ(waystation_reconfigure(relay.get(), &changed, &error), WAYSTATION_OK) << error.message;
}

/// The findings of waystation_cluster_check.
struct Findings {
  std::string text;         // "<severity> <option>; " of each
  std::string last;         // the message of the last one
  bool wants_more = false;  // after the first
};

int note(void* data, waystation_log_level severity, const waystation_error* finding) {
  auto& found = *static_cast<Findings*>(data);
  found.text += std::to_string(severity) + " " + finding->option + "; ";
  EXPECT_STRNE(finding->message, "");
  found.last = finding->message;
  return found.wants_more ? 1 : 0;
}

TEST_F(ClusterApiTest, TheStatusOfTheCheckCoversFindingsThatTheCallerDoesNotWant) {
  const RedisServer engine;
  set_cluster("unix://" + engine.path() + ",redis://127.0.0.1:" + std::to_string(free_port()));
  Findings found;
  EXPECT_EQ(waystation_cluster_check(&options_, 10'000, note, &found), WAYSTATION_FAILED);
  EXPECT_EQ(found.text, std::to_string(WAYSTATION_LOG_INFO) + " cluster; ");
}

TEST_F(ClusterApiTest, EachEntryNeedsAServerOfItsOwn) {
  for (const auto* entries : {"redis://h,redis://:password@h:6379/1", "unix:///path,unix:///path",
                              "redis+sentinel://a,b/main,redis+sentinel://b,c/main/1"}) {
    set_cluster(entries);
    Findings found;
    EXPECT_EQ(waystation_cluster_check(&options_, 10'000, note, &found), WAYSTATION_INVALID);
    EXPECT_NE(found.last.find(": the same server as \""), std::string::npos) << found.last;
  }
  const RedisServer engine({}, free_port());
  set_cluster("unix://" + engine.path() + ",redis://127.0.0.1:" + std::to_string(engine.port()));
  Findings found;
  found.wants_more = true;
  EXPECT_EQ(waystation_cluster_check(&options_, 10'000, note, &found), WAYSTATION_FAILED);
  EXPECT_NE(found.text.find(std::to_string(WAYSTATION_LOG_ERROR) + " cluster; "), std::string::npos)
      << found.text;
}

TEST_F(ClusterApiTest, TheCheckNamesEachWrongOption) {
  set_cluster("http://x");
  options_.cluster_name = "a b";
  Findings found;
  found.wants_more = true;
  EXPECT_EQ(waystation_cluster_check(&options_, 10'000, note, &found), WAYSTATION_INVALID);
  const auto error = std::to_string(WAYSTATION_LOG_ERROR);
  EXPECT_EQ(found.text, error + " cluster; " + error + " cluster_name; ");
}

}  // namespace
}  // namespace waystation::test
