#include "api/registry.hpp"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "api/relay.hpp"
#include "support/sockets.hpp"

namespace waystation::test {
namespace {

std::shared_ptr<Relay> make(std::uint32_t id) {
  waystation_options options;
  waystation_options_init(&options, sizeof options);
  return std::make_shared<Relay>(id, options);
}

TEST(Registry, FindsEntriesUntilTheyAreRemoved) {
  const auto id = registry::next_id();
  EXPECT_NE(id, 0U);
  EXPECT_EQ(registry::find(id), nullptr);
  const auto relay = make(id);
  registry::insert(id, relay);
  EXPECT_EQ(registry::find(id), relay);
  EXPECT_EQ(registry::remove(id), relay);
  EXPECT_EQ(registry::find(id), nullptr);
  EXPECT_EQ(registry::remove(id), nullptr);
  EXPECT_EQ(registry::find(0), nullptr);
}

TEST(Registry, NeverReusesANumber) {
  std::vector<std::vector<std::uint32_t>> got(4);
  std::vector<std::thread> threads;
  for (auto& ids : got) {
    threads.emplace_back([&ids] {
      for (int i = 0; i < 1000; ++i) ids.push_back(registry::next_id());
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::uint32_t> all;
  for (const auto& ids : got) all.insert(ids.begin(), ids.end());
  EXPECT_EQ(all.size(), 4000U);
  EXPECT_EQ(all.count(0), 0U);
}

TEST(Registry, LookupKeepsTheEntryAlive) {
  const auto id = registry::next_id();
  registry::insert(id, make(id));
  const auto found = registry::find(id);
  registry::remove(id)->stop();
  EXPECT_EQ(found->id(), id);
  const Relay::Use use(*found);
  EXPECT_FALSE(use);
}

TEST(Registry, ARelayThatStopsIsUsedByNoCall) {
  const auto id = registry::next_id();
  const auto relay = make(id);
  registry::insert(id, relay);
  const waystation_header host{"Host", "localhost"};
  waystation_request request{};
  request.size = sizeof request;
  request.headers = &host;
  request.header_count = 1;
  request.method = "GET";
  request.target = "/";
  request.version = "1.1";
  request.remote_address = "127.0.0.1";
  EXPECT_EQ(waystation_is_operator(id, &request), 1);
  EXPECT_NE(waystation_max_body_bytes(id), 0U);
  relay->stop();
  EXPECT_EQ(waystation_is_operator(id, &request), 0);
  EXPECT_EQ(waystation_max_body_bytes(id), 0U);
  registry::remove(id);
}

TEST(Registry, ARelayThatStopsEndsNoConnections) {
  const auto stopped = registry::next_id();
  const auto running = registry::next_id();
  registry::insert(stopped, make(stopped));
  registry::insert(running, make(running));
  registry::find(stopped)->stop();
  const test::Listener listener;
  const std::uint16_t port = listener.port();
  std::vector<FileDescriptor> sockets;
  for (int i = 0; i < 6; ++i) {
    sockets.push_back(test::connect_to({"127.0.0.1", port}));
    sockets.push_back(listener.accept());
  }
  std::size_t ended = 0;
  EXPECT_TRUE(test::eventually([&] {
    ended += waystation_end_slow_connections(stopped, &port, 1, 2);
    return waystation_end_slow_connections(running, &port, 1, 2) != 0;
  }));
  EXPECT_EQ(ended, 0U);
  registry::remove(stopped);
  registry::remove(running);
}

// The web server has not read the record yet, so it is not the client that is slow.
TEST(Registry, AWholeTlsRecordThatWaitsProtectsItsConnection) {
  const auto id = registry::next_id();
  registry::insert(id, make(id));
  const test::Listener listener;
  const std::uint16_t port = listener.port();
  const std::vector<std::string> texts = {std::string("\x16\x03\x01\x00\x02hi", 7),
                                          std::string("\x16\x03\x01\x00\x03hi", 7),
                                          std::string("\x16\x03\x01\x00", 4), std::string()};
  std::vector<FileDescriptor> clients, servers;
  for (const auto& text : texts) {
    clients.push_back(test::connect_to({"127.0.0.1", port}));
    servers.push_back(listener.accept());
    ASSERT_TRUE(test::send_all(clients.back().get(), text));
  }
  std::size_t ended = 0;
  EXPECT_TRUE(test::eventually([&] {
    ended += waystation_end_slow_connections(id, &port, 1, 1);
    return ended == 3;
  }));
  std::string whole(7, '\0');
  EXPECT_EQ(recv(servers[0].get(), whole.data(), whole.size(), MSG_DONTWAIT), 7);
  EXPECT_LT(recv(servers[0].get(), whole.data(), whole.size(), MSG_DONTWAIT), 0) << "not the end";
  registry::remove(id);
}

}  // namespace
}  // namespace waystation::test
