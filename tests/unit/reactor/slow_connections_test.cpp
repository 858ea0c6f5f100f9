#include "reactor/slow_connections.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "support/failing_calls.hpp"
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

/// An answer that no client has room for.
constexpr std::size_t kLongAnswer = std::size_t{16} << 20;

class SlowConnectionsTest : public testing::Test {
 protected:
  using Time = SlowConnections::Time;

  struct Connection {
    FileDescriptor client;
    FileDescriptor server;  // as the web server has it
  };

  Connection connect(unsigned char last, std::uint16_t port = 0) {
    const Endpoint from("127.0.0." + std::to_string(last), port);
    Connection made;
    do {
      made.client = connect_to({"127.0.0.1", port_}, &from);
      made.server = listener_.accept();
      // With the listener's port, the client's socket would count as one of the server's.
    } while (Endpoint::local_of(made.client.get()).port() == port_);
    return made;
  }

  std::vector<Connection> connect_many(unsigned char last, std::size_t count) {
    std::vector<Connection> made;
    for (std::size_t i = 0; i < count; ++i) made.push_back(connect(last));
    return made;
  }

  /// What a call half a second after the one before ends.
  std::size_t end() { return end({port_}); }
  std::size_t end_soon() { return end({port_}, std::chrono::milliseconds(50)); }
  std::size_t end(const std::vector<std::uint16_t>& ports,
                  std::chrono::milliseconds later = std::chrono::milliseconds(500)) {
    now_ += later;
    const auto ended =
        slow_.end({.ports = ports,
                   .workers = kWorkers,
                   .is_exempt = [](const AddressBytes& peer) { return peer == loopback(9); },
                   .is_whole = [](std::string_view bytes) { return bytes.ends_with("."); }},
                  now_);
    if (!ended) throw std::system_error(ended.error());
    return *ended;
  }

  /// Writes more than the client takes, as far as the kernel takes it.
  static void write_answer(const Connection& connection) {
    const std::string answer(kLongAnswer, 'x');
    EXPECT_GT(::send(connection.server.get(), answer.data(), answer.size(), MSG_DONTWAIT), 0);
  }
  /// Whether the server can no longer write.
  static bool is_cut(const Connection& connection) {
    pollfd state{connection.server.get(), 0, 0};
    return poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLERR)) != 0;
  }

  static std::size_t count_ended(const std::vector<Connection>& connections) {
    std::size_t count = 0;
    for (const auto& connection : connections) count += is_at_end(connection.server) ? 1U : 0U;
    return count;
  }

  Listener listener_;
  const std::uint16_t port_ = listener_.port();
  SlowConnections slow_;
  Time now_ = std::chrono::steady_clock::now();
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

TEST_F(SlowConnectionsTest, ANetworkThatHoldsMoreThanItsShareIsLeftNoTime) {
  const auto crowd = connect_many(2, 20);
  const Connection others[] = {connect(3), connect(3), connect(4)};
  EXPECT_EQ(end_soon(), 0U) << "they have only just come";
  EXPECT_EQ(end_soon(), 20 - kWorkers / 2);
  EXPECT_EQ(count_ended(crowd), 20 - kWorkers / 2);
  for (const auto& other : others) EXPECT_FALSE(is_at_end(other.server));
}

TEST_F(SlowConnectionsTest, WholeRequestsAndAnswersTakeNoShare) {
  const auto patient = connect_many(2, 20);
  const auto writing = connect_many(2, 20);
  const auto slow = connect_many(2, kWorkers / 2 + 1);
  for (const auto& connection : patient) test::send_all(connection.client.get(), "a request.");
  for (const auto& connection : writing) write_answer(connection);
  end_soon();
  EXPECT_EQ(end_soon(), 1U);
  EXPECT_EQ(count_ended(slow), 1U);
}

TEST_F(SlowConnectionsTest, ConnectionsThatHadBytesOfTheServerTakeNoShare) {
  const auto crowd = connect_many(2, 20);
  for (const auto& connection : crowd) {
    test::send_all(connection.server.get(), "hello");
    EXPECT_EQ(test::receive_exactly(connection.client.get(), 5), "hello");
  }
  end_soon();
  EXPECT_EQ(end_soon(), 0U);
  EXPECT_EQ(end(), 20 - kWorkers / 2);
}

TEST_F(SlowConnectionsTest, NoShareIsTakenFromExemptAddressesOrWithFreeWorkers) {
  const auto few = connect_many(2, kWorkers);
  end_soon();
  EXPECT_EQ(end_soon(), 0U);
  const auto proxy = connect_many(9, 20);
  EXPECT_EQ(end_soon(), kWorkers / 2);
  EXPECT_EQ(end_soon(), 0U);
  EXPECT_EQ(count_ended(few), kWorkers / 2);
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

// As in a TLS handshake, which takes several turns.
TEST_F(SlowConnectionsTest, AClientIsSlowOnlySinceTheServerHasReadFromIt) {
  std::vector<Connection> crowd;
  for (unsigned char last = 20; last < 40; ++last) crowd.push_back(connect(last));
  for (const auto& connection : crowd) test::send_all(connection.client.get(), "a record.");
  EXPECT_EQ(end(), 0U);
  EXPECT_EQ(end(), 0U) << "they wait for the server";
  for (const auto& connection : crowd) test::receive_exactly(connection.server.get(), 9);
  EXPECT_EQ(end_soon(), 0U) << "they have had no time";
  EXPECT_EQ(end(), 20 - kWorkers / 2);
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
  ASSERT_TRUE(adopted);
  const Listener other;
  const Endpoint from("127.0.0.2", 0);
  const auto client = connect_to({"127.0.0.1", other.port()}, &from);
  const auto server = other.accept();
  end();
  EXPECT_EQ(end(), 19 - kWorkers / 2);
  char byte = 0;
  EXPECT_EQ(::recv(adopted->get(), &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_FALSE(is_at_end(server));
}

TEST_F(SlowConnectionsTest, AReusedDescriptorIsNotTouched) {
  const auto first = connect(2);
  const auto second = connect(2);
  const std::uint16_t port = listener_.port();
  const auto open = open_connections({&port, 1}, 0);
  ASSERT_TRUE(open);
  ASSERT_EQ(open->size(), 2U);
  auto reused = (*open)[0];
  reused.identity = (*open)[1].identity;
  EXPECT_FALSE(shut_down(reused, SHUT_RD));
  EXPECT_FALSE(is_at_end(first.server));
  EXPECT_FALSE(is_at_end(second.server));
}

TEST_F(SlowConnectionsTest, AConnectionFromTheSamePortIsAnother) {
  auto crowd = connect_many(2, 20);
  end();
  EXPECT_GT(end(), 0U);
  for (auto& connection : crowd) {
    const auto port = Endpoint::local_of(connection.client.get()).port();
    test::reset_on_close(connection.client.get());
    connection.client.reset();
    connection.server.reset();
    connection = connect(2, port);
  }
  EXPECT_EQ(end(), 0U) << "they have only just come";
  EXPECT_EQ(end(), 20 - kWorkers / 2);
}

TEST_F(SlowConnectionsTest, AfterAPauseEachConnectionIsNewAgain) {
  const auto crowd = connect_many(2, 20);
  end();
  now_ += SlowConnections::kForgetAfter;
  EXPECT_EQ(end(), 0U) << "what they did in between is not known";
  EXPECT_GT(end(), 0U);
}

TEST_F(SlowConnectionsTest, CallsInQuickSuccessionAreAsOne) {
  const auto crowd = connect_many(2, 20);
  end();
  EXPECT_EQ(end({port_}, SlowConnections::kCrowdedAfter / 2), 0U);
}

TEST_F(SlowConnectionsTest, AConnectionThatDoesNotTakeItsAnswerIsCut) {
  const auto crowd = connect_many(2, 20);
  for (const auto& connection : crowd) write_answer(connection);
  end();
  EXPECT_EQ(end(), 20 - kWorkers / 2);
  EXPECT_TRUE(std::ranges::none_of(crowd, is_cut)) << "the answer may still be taken";
  end();
  EXPECT_EQ(std::ranges::count_if(crowd, is_cut), 20 - kWorkers / 2);
}

TEST_F(SlowConnectionsTest, RequestsThatWaitBehindAnAnswerDoNotProtectIt) {
  const auto ahead = connect_many(2, 10);
  const auto half_closed = connect_many(2, 10);
  for (const auto& connection : ahead) test::send_all(connection.client.get(), "a request.");
  for (const auto& connection : half_closed) ::shutdown(connection.client.get(), SHUT_WR);
  for (const auto& connection : ahead) write_answer(connection);
  for (const auto& connection : half_closed) write_answer(connection);
  for (int i = 0; i < 3; ++i) end();
  EXPECT_EQ(std::ranges::count_if(ahead, is_cut) + std::ranges::count_if(half_closed, is_cut),
            20 - kWorkers / 2);
}

TEST_F(SlowConnectionsTest, ServersDoNotForgetForOneAnother) {
  const Listener other;
  const auto crowd = connect_many(2, 20);
  EXPECT_EQ(end(), 0U);
  EXPECT_EQ(end({other.port()}), 0U);
  EXPECT_EQ(end(), 20 - kWorkers / 2);
}

TEST_F(SlowConnectionsTest, OfNetworksWithEquallyManyTheOldestGoesFirst) {
  const Connection old[] = {connect(60), connect(61)};
  end();
  const Connection young[] = {connect(10), connect(11)};  // lower addresses
  EXPECT_EQ(end(), 0U);
  const auto proxy = connect(9);
  EXPECT_EQ(end(), 3U);
  EXPECT_TRUE(is_at_end(old[0].server));
  EXPECT_TRUE(is_at_end(old[1].server));
  EXPECT_NE(is_at_end(young[0].server), is_at_end(young[1].server));
}

TEST_F(SlowConnectionsTest, ServedConnectionsAreNotEnded) {
  const auto crowd = connect_many(2, 20);
  const auto ends_of = [&](const Connection& connection) {
    return ConnectionEnds{loopback(2), Endpoint::local_of(connection.client.get()).port(),
                          listener_.port()};
  };
  const SlowConnections::Serving served(slow_, ends_of(crowd[0]));
  SlowConnections::Serving waiting(slow_, ends_of(crowd[1]));
  { const SlowConnections::Serving over(slow_, ends_of(crowd[2])); }
  waiting.set_waiting(true);
  end();
  EXPECT_EQ(end(), 20 - kWorkers / 2);
  EXPECT_FALSE(is_at_end(crowd[0].server));
  EXPECT_TRUE(is_at_end(crowd[1].server)) << "the library waits for its client";
  EXPECT_TRUE(is_at_end(crowd[2].server));
}

TEST_F(SlowConnectionsTest, AnEndedConnectionIsNotAdopted) {
  const auto crowd = connect_many(2, 20);
  end();
  end();
  ASSERT_TRUE(is_at_end(crowd[0].server));
  const auto port = Endpoint::local_of(crowd[0].client.get()).port();
  for (const int descriptor : {-1, crowd[0].server.get()}) {
    const auto adopted = adopt_socket({descriptor, "127.0.0.2", port, listener_.port(), 0});
    ASSERT_FALSE(adopted) << descriptor;
    EXPECT_EQ(adopted.error().cause, AdoptionFailure::Cause::not_found);
  }
}

TEST_F(SlowConnectionsTest, AConnectionWhosePeerHasSentAllIsAdopted) {
  const auto connection = connect(2);
  ::shutdown(connection.client.get(), SHUT_WR);
  ASSERT_TRUE(test::reads_eof(connection.server.get()));
  EXPECT_TRUE(adopt_socket({connection.server.get(), "", 0, 0, 0}));
}

TEST_F(SlowConnectionsTest, SocketsOfOtherKindsAreNotConsidered) {
  const auto crowd = connect_many(2, kWorkers);
  std::vector<FileDescriptor> datagrams;
  for (int i = 0; i < 20; ++i) {
    FileDescriptor udp(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    test::reuse_address(udp.get());
    const Endpoint at("127.0.0.1", listener_.port());
    const Endpoint to("127.0.0.2", 9);
    ASSERT_EQ(bind(udp.get(), at.get(), at.size()), 0);
    ASSERT_EQ(::connect(udp.get(), to.get(), to.size()), 0);
    datagrams.push_back(std::move(udp));
  }
  end();
  EXPECT_EQ(end(), 0U);
  EXPECT_EQ(count_ended(crowd), 0U);
}

TEST_F(SlowConnectionsTest, WhatCannotBeExaminedIsLeftAlone) {
  const auto crowd = connect_many(2, 20);
  end();
  for (const long call : {SYS_getsockname, SYS_getsockopt}) {
    test::where_it_fails({call, ENOBUFS}, [&] { EXPECT_EQ(end(), 0U); });
  }
  EXPECT_EQ(count_ended(crowd), 0U);
}

TEST_F(SlowConnectionsTest, SaysWhyDescriptorsCannotBeListed) {
  for (const long call : {SYS_openat, SYS_getdents64}) {
    test::where_it_fails({call, EMFILE}, [&] { EXPECT_THROW(end(), std::system_error); });
  }
}

TEST(NetworkOf, IsAnIpv4AddressOrAnIpv6Prefix) {
  EXPECT_EQ(network_of(loopback(2)), loopback(2));
  const AddressBytes host{0x20, 1, 0xD, 0xB8, 0, 1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  const AddressBytes prefix{0x20, 1, 0xD, 0xB8, 0, 1, 0, 2};
  EXPECT_EQ(network_of(host), prefix);
}

}  // namespace
}  // namespace waystation::test
