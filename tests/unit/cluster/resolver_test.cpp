#include "cluster/resolver.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <optional>
#include <string>
#include <vector>

#include "cluster/engine_locator.hpp"
#include "unit/cluster/test_loop.hpp"

namespace waystation::test {
namespace {

struct Asker final : Resolver::Client {
  void on_resolved(const Resolver::Addresses& addresses) noexcept override { answer = addresses; }
  std::optional<Resolver::Addresses> answer;
};

std::uint16_t port_of(const SocketAddress& address) {
  return address.family() == AF_INET
             ? ntohs(reinterpret_cast<const sockaddr_in*>(address.get())->sin_port)
             : ntohs(reinterpret_cast<const sockaddr_in6*>(address.get())->sin6_port);
}

class ResolverTest : public testing::Test {
 protected:
  TestLoop loop_;
  Resolver resolver_{loop_};
  Asker asker_;
};

TEST_F(ResolverTest, NumericAddressesAndPathsNeedNoThread) {
  for (const auto& [host, family] : {std::pair("127.0.0.1", AF_INET), std::pair("::1", AF_INET6)}) {
    resolver_.resolve({host, 7000}, asker_);
    ASSERT_TRUE(asker_.answer && *asker_.answer) << "inside the call";
    ASSERT_EQ((*asker_.answer)->size(), 1U);
    EXPECT_EQ((*asker_.answer)->front().family(), family);
    EXPECT_EQ(port_of((*asker_.answer)->front()), 7000);
  }
  resolver_.resolve({"/run/redis.sock", 0}, asker_);
  ASSERT_TRUE(*asker_.answer);
  EXPECT_EQ((*asker_.answer)->front().family(), AF_UNIX);
  resolver_.resolve({"/" + std::string(200, 'x'), 0}, asker_);
  EXPECT_FALSE(*asker_.answer);
}

TEST_F(ResolverTest, NamesAreLookedUpOnAnotherThread) {
  resolver_.resolve({"localhost", 7000}, asker_);
  EXPECT_FALSE(asker_.answer) << "the loop does not wait";
  ASSERT_TRUE(loop_.run_until([&] { return asker_.answer.has_value(); }));
  ASSERT_TRUE(*asker_.answer) << asker_.answer->error();
  EXPECT_EQ(port_of((*asker_.answer)->front()), 7000);
}

TEST_F(ResolverTest, AnUnknownNameIsAProblem) {
  resolver_.resolve({"no such host", 7000}, asker_);
  ASSERT_TRUE(loop_.run_until([&] { return asker_.answer.has_value(); }));
  ASSERT_FALSE(*asker_.answer);
  EXPECT_TRUE(asker_.answer->error().starts_with("no such host: ")) << asker_.answer->error();
}

TEST_F(ResolverTest, WhoCancelsIsNotCalled) {
  Asker other;
  resolver_.resolve({"localhost", 1}, asker_);
  resolver_.resolve({"localhost", 2}, other);
  resolver_.cancel(asker_);
  ASSERT_TRUE(loop_.run_until([&] { return other.answer.has_value(); }));
  EXPECT_FALSE(asker_.answer) << "its answer was due before";
}

TEST_F(ResolverTest, ANameIsLookedUpOnceAtATime) {
  // As a connection does whose deadline is shorter than the look-up.
  for (int i = 0; i < 1000; ++i) {
    resolver_.resolve({"localhost", 7000}, asker_);
    resolver_.cancel(asker_);
    ASSERT_EQ(resolver_.pending(), 1U);
  }
  Asker other;
  resolver_.resolve({"localhost", 7000}, asker_);
  resolver_.resolve({"localhost", 7000}, other);
  ASSERT_TRUE(loop_.run_until([&] { return asker_.answer && other.answer; }));
  EXPECT_EQ(resolver_.pending(), 0U);
}

struct Seeker final : EngineLocator::Client {
  void on_located(const Result<EngineLocator::Location, std::string>& location) noexcept override {
    names.push_back(location ? location->name : "problem");
  }
  std::vector<std::string> names;
};

TEST_F(ResolverTest, AFixedLocatorTakesHostAfterHost) {
  FixedLocator locator(resolver_, {{"127.0.0.1", 1}, {"no such host", 2}, {"127.0.0.1", 3}});
  Seeker seeker;
  for (std::size_t i = 1; i <= 4; ++i) {
    locator.locate(seeker);
    ASSERT_TRUE(loop_.run_until([&] { return seeker.names.size() == i; }));
  }
  EXPECT_EQ(seeker.names,
            (std::vector<std::string>{"127.0.0.1:1", "problem", "127.0.0.1:3", "127.0.0.1:1"}));
}

}  // namespace
}  // namespace waystation::test
