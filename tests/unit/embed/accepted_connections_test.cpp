#include "embed/accepted_connections.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "support/sockets.hpp"

using waystation::server::AcceptedConnections;
using waystation::test::Endpoint;

namespace {

class AcceptedConnectionsTest : public testing::Test {
 protected:
  void record(int descriptor, const std::string& address, std::uint16_t port) {
    connections_->record(descriptor, storage_of({address, port}));
  }
  void record_unix(int descriptor) {
    sockaddr_storage peer{};
    peer.ss_family = AF_UNIX;
    connections_->record(descriptor, peer);
  }
  int find(const char* address, std::uint16_t port) { return connections_->find(address, port); }

 private:
  static sockaddr_storage storage_of(const Endpoint& endpoint) {
    sockaddr_storage storage{};
    std::memcpy(&storage, endpoint.get(), endpoint.size());
    return storage;
  }

  // Too large for the stack.
  std::unique_ptr<AcceptedConnections> connections_ = std::make_unique<AcceptedConnections>();
};

TEST_F(AcceptedConnectionsTest, AreFoundByTheirPeers) {
  record(6, "192.0.2.7", 40001);
  record(7, "2001:db8::7", 40001);
  record(5000, "192.0.2.7", 40002);
  EXPECT_EQ(find("192.0.2.7", 40001), 6);
  EXPECT_EQ(find("2001:db8::7", 40001), 7);
  EXPECT_EQ(find("2001:DB8:0::7%eth0", 40001), 7);
  EXPECT_EQ(find("192.0.2.7", 40002), 5000);
  EXPECT_EQ(find("192.0.2.8", 40001), -1);
  EXPECT_EQ(find("192.0.2.7", 40003), -1);
}

TEST_F(AcceptedConnectionsTest, HaveOneSpellingOfAMappedAddress) {
  record(6, "::ffff:192.0.2.7", 40001);
  for (const char* written : {"192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:207"}) {
    EXPECT_EQ(find(written, 40001), 6) << written;
  }
}

TEST_F(AcceptedConnectionsTest, AreNotFoundByWhatIsNoAddress) {
  record_unix(6);
  for (const std::string& written :
       {std::string(), std::string("localhost"), std::string("192.0.2"), std::string(100, '1')}) {
    EXPECT_EQ(find(written.c_str(), 0), -1) << written;
  }
}

TEST_F(AcceptedConnectionsTest, AreNotFoundWhereTwoHaveOnePeer) {
  record(6, "192.0.2.7", 40001);
  record(9, "192.0.2.7", 40001);
  EXPECT_EQ(find("192.0.2.7", 40001), -1);
  // The earlier one was closed, since its number is used again.
  record(6, "192.0.2.7", 40002);
  EXPECT_EQ(find("192.0.2.7", 40001), 9);
  EXPECT_EQ(find("192.0.2.7", 40002), 6);
  record_unix(9);
  EXPECT_EQ(find("192.0.2.7", 40001), -1);
}

// Numbers are recorded again and again, in changing order, and many share a slot.
TEST_F(AcceptedConnectionsTest, AreEachFoundAmongMany) {
  constexpr int kOpen = 9000;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < kOpen; ++i) {
      const int number = (i * 7 + round) % kOpen;
      record(number, "192.0.2." + std::to_string(round), static_cast<std::uint16_t>(number + 1));
    }
    for (int number = 0; number < kOpen; ++number) {
      const auto address = "192.0.2." + std::to_string(round);
      ASSERT_EQ(find(address.c_str(), static_cast<std::uint16_t>(number + 1)), number);
    }
  }
  EXPECT_EQ(find("192.0.2.0", 1), -1);
}

TEST_F(AcceptedConnectionsTest, AreNotFoundOnceANumberIsTooLarge) {
  record(6, "192.0.2.7", 40001);
  record(static_cast<int>(AcceptedConnections::kNumbers), "192.0.2.7", 40001);
  EXPECT_EQ(find("192.0.2.7", 40001), -1);
}

}  // namespace
