// C functions for which no memory is left.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "support/memory.hpp"
#include "unit/api/embedder.hpp"

namespace waystation::test {
namespace {

/// An audit's file, deleted by the destructor.
class AuditFile {
 public:
  ~AuditFile() { remove(); }
  AuditFile() = default;
  AuditFile(const AuditFile&) = delete;
  AuditFile& operator=(const AuditFile&) = delete;

  const std::string& path() const noexcept { return path_; }
  void remove() const {
    for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(path_ + part);
  }

 private:
  std::string path_ = testing::TempDir() + "waystation-memory-" + std::to_string(getpid()) + ".db";
};

TEST(WithoutMemory, TheStatsAreReadWhileTheAuditHasAFault) {
  const AuditFile file;
  auto options = default_options();
  options.audit_file = file.path().c_str();
  const Embedded relay(options);
  const auto has_state = [&](waystation_audit_state state) {
    return eventually([&] { return relay.stats().audit_state == state; });
  };
  ASSERT_TRUE(has_state(WAYSTATION_AUDIT_OK));
  file.remove();
  // The text of this fault is longer than what a std::string holds itself.
  ASSERT_EQ(mkfifo(file.path().c_str(), 0600), 0);
  relay.push("bob");
  ASSERT_TRUE(has_state(WAYSTATION_AUDIT_FAILED));
  waystation_stats stats{};
  stats.size = sizeof stats;
  auto status = WAYSTATION_INTERNAL;
  {
    const NoMemoryHere none_left;
    status = waystation_stats_read(relay.get(), &stats);
  }
  EXPECT_EQ(status, WAYSTATION_OK);
  EXPECT_EQ(stats.audit_state, WAYSTATION_AUDIT_FAILED);
  EXPECT_EQ(stats.audit_rows_waiting, 1U);
  file.remove();
  EXPECT_TRUE(has_state(WAYSTATION_AUDIT_OK));
}

}  // namespace
}  // namespace waystation::test
