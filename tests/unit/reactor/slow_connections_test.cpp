#include "reactor/slow_connections.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "support/sockets.hpp"

namespace waystation::test {
namespace {

using test::connect_to;
using test::Endpoint;
using test::Listener;

constexpr std::size_t kWorkers = 4;

AddressBytes loopback(unsigned char last) {
  return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127, 0, 0, last};
}

/// Whether a read would return end-of-file. Nothing that waits to be read is read.
bool is_at_end(const FileDescriptor& socket) {
  char byte = 0;
  return ::recv(socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

class SlowConnectionsTest : public testing::Test {
 protected:
  struct Connection {
    FileDescriptor client;
    FileDescriptor server;  // as the web server has it
  };

  Connection connect(unsigned char last) {
    const Endpoint from("127.0.0." + std::to_string(last), 0);
    Connection made;
    made.client = connect_to({"127.0.0.1", listener_.port()}, &from);
    made.server = listener_.accept();
    return made;
  }

  std::vector<Connection> connect_many(unsigned char last, std::size_t count) {
    std::vector<Connection> made;
    for (std::size_t i = 0; i < count; ++i) made.push_back(connect(last));
    return made;
  }

  std::size_t end() {
    const std::uint16_t port = listener_.port();
    return slow_.end({.ports = {&port, 1},
                      .workers = kWorkers,
                      .is_exempt = [](const AddressBytes& peer) { return peer == loopback(9); },
                      .is_whole = [](std::string_view bytes) { return bytes.ends_with("."); }});
  }

  static std::size_t count_ended(const std::vector<Connection>& connections) {
    std::size_t count = 0;
    for (const auto& connection : connections) count += is_at_end(connection.server) ? 1U : 0U;
    return count;
  }

  Listener listener_;
  SlowConnections slow_;
};

TEST_F(SlowConnectionsTest, NoConnectionIsEndedIfEachHasAWorker) {
  const auto few = connect_many(2, kWorkers);
  EXPECT_EQ(end(), 0U);
  EXPECT_EQ(end(), 0U);
  EXPECT_EQ(count_ended(few), 0U);
}

TEST_F(SlowConnectionsTest, EndsSlowConnectionsDownToHalfOfTheWorkers) {
  const auto crowd = connect_many(2, 20);
  EXPECT_EQ(end(), 0U) << "they have only just come";
  EXPECT_EQ(end(), 20 - kWorkers / 2);
  EXPECT_EQ(count_ended(crowd), 20 - kWorkers / 2);
  EXPECT_EQ(end(), 0U) << "those that were ended count no longer, though they are still open";
}

TEST_F(SlowConnectionsTest, ConnectionsOfTheAddressWithTheMostAreEnded) {
  const auto crowd = connect_many(2, 20);
  const auto newcomer = connect(3);
  end();
  EXPECT_GT(end(), 0U);
  EXPECT_FALSE(is_at_end(newcomer.server));
}

TEST_F(SlowConnectionsTest, TheOldestAreEndedFirst) {
  const auto old = connect_many(2, 20);
  end();
  const auto younger = connect_many(2, 2);
  end();
  EXPECT_EQ(count_ended(old), 20U);
  EXPECT_EQ(count_ended(younger), 0U);
}

TEST_F(SlowConnectionsTest, AConnectionWithAWholeRequestIsNotSlow) {
  const auto patient = connect_many(2, 20);
  const auto slow = connect_many(3, 2);
  for (const auto& connection : patient) test::send_all(connection.client.get(), "a request.");
  for (const auto& connection : slow) test::send_all(connection.client.get(), "half a");
  end();
  EXPECT_EQ(end(), 2U);
  EXPECT_EQ(count_ended(patient), 0U);
  EXPECT_EQ(test::receive_exactly(slow[0].server.get(), 6), "half a") << "is still to be had";
  EXPECT_TRUE(is_at_end(slow[0].server));
}

TEST_F(SlowConnectionsTest, ExemptAddressesAreNotEnded) {
  const auto proxy = connect_many(9, 20);
  end();
  EXPECT_EQ(end(), 0U);
  EXPECT_EQ(count_ended(proxy), 0U);
}

TEST_F(SlowConnectionsTest, AnswersAreStillSent) {
  const auto crowd = connect_many(2, 20);
  end();
  end();
  ASSERT_TRUE(is_at_end(crowd[0].server));
  ASSERT_TRUE(test::send_all(crowd[0].server.get(), "an answer"));
  EXPECT_EQ(test::receive_exactly(crowd[0].client.get(), 9), "an answer");
}

TEST_F(SlowConnectionsTest, AdoptedSocketsAndOthersAreNotTheWebServers) {
  const auto crowd = connect_many(2, 20);
  auto adopted = adopt_socket({crowd[0].server.get(), "", 0, 0});
  ASSERT_TRUE(std::holds_alternative<AdoptedSocket>(adopted));
  const Listener other;
  const Endpoint from("127.0.0.2", 0);
  const auto client = connect_to({"127.0.0.1", other.port()}, &from);
  const auto server = other.accept();
  end();
  EXPECT_EQ(end(), 19 - kWorkers / 2);
  char byte = 0;
  EXPECT_EQ(::recv(std::get<AdoptedSocket>(adopted).get(), &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_FALSE(is_at_end(server));
}

TEST_F(SlowConnectionsTest, AReusedDescriptorIsNotTouched) {
  const auto first = connect(2);
  const auto second = connect(2);
  const std::uint16_t port = listener_.port();
  const auto open = open_connections({&port, 1});
  ASSERT_EQ(open.size(), 2U);
  EXPECT_FALSE(end_reading({open[0].descriptor, open[1].ends}));
  EXPECT_FALSE(is_at_end(first.server));
  EXPECT_FALSE(is_at_end(second.server));
}

}  // namespace
}  // namespace waystation::test
