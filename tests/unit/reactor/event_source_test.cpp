#include "reactor/event_source.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "reactor/reactor.hpp"
#include "support/sockets.hpp"

namespace waystation::test {
namespace {

using test::eventually;

/// One end of a socket pair that the reactor watches. All but `peer` and the atomics is for the
/// reactor's thread.
class Door final : public EventSource {
 public:
  explicit Door(Loop& loop) : loop_(loop) {
    std::array<int, 2> fds{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()), 0);
    own_ = FileDescriptor(fds[0]);
    peer = FileDescriptor(fds[1]);
  }

  bool open() { return loop_.add(own_.get(), *this, EPOLLIN); }
  void close() {
    loop_.remove(own_.get(), *this);
    own_.reset();
  }

  void on_events(std::uint32_t events) noexcept override {
    ++calls;
    if (on_call) return on_call();
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
      close();
      has_ended = true;  // from here on the test's thread may have it
      return;
    }
    if ((events & EPOLLOUT) != 0) {
      (void)test::send_all(own_.get(), "!");
      loop_.change(own_.get(), *this, EPOLLIN);
    }
    std::array<char, 64> buffer;
    const auto size = ::recv(own_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size > 0) {
      received += static_cast<int>(size);
      loop_.change(own_.get(), *this, EPOLLIN | EPOLLOUT);
    }
  }

  FileDescriptor peer;
  std::function<void()> on_call;
  std::atomic<int> calls = 0, received = 0;
  std::atomic<bool> has_ended = false;

 private:
  Loop& loop_;
  FileDescriptor own_;
};

class EventSourceTest : public testing::Test {
 protected:
  /// Runs on the reactor's thread, and waits for it.
  template <typename F>
  void on_reactor(F&& f) {
    std::promise<void> done;
    ASSERT_TRUE(reactor_.post([&] {
      f();
      done.set_value();
    }));
    done.get_future().wait();
  }

  Reactor reactor_{ReactorOptions{}};
};

TEST_F(EventSourceTest, AnyDescriptorMayBeWatched) {
  Door door(reactor_);
  on_reactor([&] { EXPECT_TRUE(door.open()); });
  ASSERT_TRUE(test::send_all(door.peer.get(), "ping"));
  EXPECT_TRUE(eventually([&] { return door.received == 4; }));
  EXPECT_EQ(test::receive_exactly(door.peer.get(), 1), "!") << "once it was writable";
  door.peer.reset();
  EXPECT_TRUE(eventually([&] { return door.has_ended.load(); }));
}

TEST_F(EventSourceTest, NothingIsReportedAfterItWasRemoved) {
  // Both are ready in the same round; whichever is first removes the other.
  std::array<std::unique_ptr<Door>, 2> doors;
  for (auto& door : doors) door = std::make_unique<Door>(reactor_);
  std::atomic<int> calls = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    doors[i]->on_call = [&, i] {
      ++calls;
      auto& other = doors[1 - i];
      if (other == nullptr) return;
      other->close();
      other.reset();  // its memory, too
      doors[i]->close();
    };
  }
  on_reactor([&] {
    for (auto& door : doors) EXPECT_TRUE(test::send_all(door->peer.get(), "x"));
    for (auto& door : doors) EXPECT_TRUE(door->open());
  });
  EXPECT_TRUE(eventually([&] { return calls == 1; }));
  on_reactor([] {});
  on_reactor([] {});
  EXPECT_EQ(calls, 1);
}

TEST_F(EventSourceTest, AFailureOfEpollIsReported) {
  Door door(reactor_);
  on_reactor([&] {
    EXPECT_FALSE(reactor_.add(-1, door, EPOLLIN));
    EXPECT_FALSE(reactor_.change(-1, door, EPOLLIN));
  });
}

TEST_F(EventSourceTest, AnyObjectMayOwnTimers) {
  struct Twice {
    class Tick final : public Timer {
     public:
      Tick(Loop& loop, std::function<void()> action)
          : Timer(loop.timers()), action_(std::move(action)) {}

     private:
      void on_timer() noexcept override { action_(); }
      std::function<void()> action_;
    };

    explicit Twice(Loop& loop)
        : first(loop, [this, &loop] { second.set(loop.now_ms() + 1); }),
          second(loop, [this] { done.set_value(); }) {}
    Tick first, second;
    std::promise<void> done;
  };
  std::unique_ptr<Twice> twice;
  std::future<void> done;
  on_reactor([&] {
    twice = std::make_unique<Twice>(reactor_);
    done = twice->done.get_future();
    twice->first.set(reactor_.now_ms() + 1);
  });
  // There is no connection that would wake the reactor.
  EXPECT_EQ(done.wait_for(test::kPatience), std::future_status::ready);
  on_reactor([&] { twice.reset(); });
}

}  // namespace
}  // namespace waystation::test
