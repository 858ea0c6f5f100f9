// A loop on the test's own thread.
#pragma once

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>

#include "reactor/loop.hpp"
#include "support/sockets.hpp"

namespace waystation::test {

/// Runs rounds as the reactor does, without connections of clients, while a test waits.
class TestLoop final : public Loop {
 public:
  TestLoop() : Loop(FrameLimits{}, OutboxPool::Limits{}, 3'600'000) {}

  /// Runs until `condition` is true. Returns false at the deadline.
  template <typename F>
  bool run_until(F&& condition, std::chrono::milliseconds patience = kPatience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) return false;
      round();
    }
    return true;
  }

  /// Events that are ready, then timers that are due.
  void round() {
    std::array<epoll_event, 16> events;
    const int count = epoll_wait(epoll_descriptor(), events.data(), events.size(), 1);
    read_clock();
    unreported_ = std::span(events).first(static_cast<std::size_t>(std::max(count, 0)));
    while (!unreported_.empty()) {
      const auto event = unreported_.front();
      unreported_ = unreported_.subspan(1);
      if (event.data.ptr == nullptr) continue;
      static_cast<EventSource*>(event.data.ptr)->on_events(event.events);
    }
    timers_.run(now_ms());
  }

  void touch(Connection&) noexcept override {}
  void revisit(Connection&) noexcept override {}
  bool defer_end(Connection&) noexcept override { return false; }
  void on_closed(Connection&) noexcept override {}
  bool reclaim(std::size_t, const Connection&) noexcept override { return false; }
  void count_closed_slow() noexcept override {}
  void count_closed_dead() noexcept override {}
};

}  // namespace waystation::test
