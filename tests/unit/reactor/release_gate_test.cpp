#include "reactor/release_gate.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <span>

#include "reactor/reactor.hpp"
#include "support/sockets.hpp"

namespace waystation::test {
namespace {

/// A session that can be used, and carries nothing.
class EmptySession final : public TlsSession {
 public:
  void give_back() noexcept override {}
  bool begin(int) noexcept override { return true; }
  Result read(std::span<char>) noexcept override { return {}; }
  Result write(std::span<const char>) noexcept override { return {}; }
  bool has_pending() const noexcept override { return false; }
  std::size_t held_bytes() const noexcept override { return 0; }
  void end() noexcept override {}
};

TEST(ReleaseGateTest, AConnectionWithoutMemoryIsAProblem) {
  Reactor reactor{ReactorOptions{}};
  std::array<int, 2> fds{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  FileDescriptor server(fds[0]);
  FileDescriptor gate(fds[1]);

  std::optional<ReleaseGate> waiting;
  std::atomic<const char*> problem = nullptr;
  const auto done = [&](const std::unique_ptr<Stream>& released, ReleaseGate::Problem text) {
    if (text == nullptr) {
      EXPECT_NE(released, nullptr);
      throw std::bad_alloc();
    }
    EXPECT_EQ(released, nullptr);
    problem = text;
  };
  std::promise<void> started;
  ASSERT_TRUE(reactor.post([&] {
    auto stream = std::make_unique<TlsStream>();
    stream->hold(std::make_unique<EmptySession>());
    waiting.emplace(reactor, std::move(stream), std::move(gate), done);
    waiting->start(20'000);
    started.set_value();
  }));
  started.get_future().wait();
  server.reset();  // the web server has released the session

  EXPECT_TRUE(eventually([&] { return problem != nullptr; }));
  reactor.stop();
  EXPECT_STREQ(problem, "there is no memory for the connection");
  EXPECT_TRUE(waiting->is_done());
}

}  // namespace
}  // namespace waystation::test
