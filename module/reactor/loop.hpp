// The reactor's thread as a connection sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <sys/epoll.h>

#include "base/file_descriptor.hpp"
#include "reactor/event_source.hpp"
#include "reactor/timer_queue.hpp"
#include "relay/now.hpp"
#include "relay/outbox.hpp"
#include "websocket/frame_reader.hpp"

namespace waystation {

class Connection;

/// The clock, timers, watched descriptors and limits of the reactor's thread, and what a connection
/// reports. On that thread only.
class Loop {
 public:
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  const Now& now() const noexcept { return now_; }
  std::int64_t now_ms() const noexcept { return now_.steady_ms; }
  std::int64_t ping_interval_ms() const noexcept { return ping_interval_ms_; }
  OutboxPool& pool() noexcept { return pool_; }
  const FrameLimits& frame_limits() const noexcept { return frame_limits_; }
  TimerQueue& timers() noexcept { return timers_; }
  /// The buffer for the next bytes of a connection whose current frame lacks `frame_rest` bytes.
  std::span<char> read_buffer(std::uint64_t frame_rest) noexcept;

  // Watches `descriptor` for `events` (EPOLLIN, EPOLLOUT, or 0), level-triggered. EPOLLERR and
  // EPOLLHUP are always reported, EPOLLRDHUP with EPOLLIN. False where epoll refuses; errno says
  // why.
  bool add(int descriptor, EventSource& source, std::uint32_t events) noexcept;
  bool change(int descriptor, EventSource& source, std::uint32_t events) noexcept;
  /// Stops that until change() is called.
  void suspend(int descriptor) noexcept;
  /// Ends that, before the descriptor is closed. No event is reported to `source` after this call.
  void remove(int descriptor, const EventSource& source) noexcept;

  // ---- for connections

  /// Calls the connection's on_close_request and flush at the end of this round.
  virtual void touch(Connection& connection) noexcept = 0;
  /// Calls the connection's on_revisit in a later round, without waiting for events.
  virtual void revisit(Connection& connection) noexcept = 0;
  /// Asks whether to handle the end of the connection's peer later, as this round has handled
  /// enough of them. Then calls the connection's on_deferred_end in a later round.
  virtual bool defer_end(Connection& connection) noexcept = 0;
  /// The connection has ended. It is destroyed, and its stream closed, at the end of this round or
  /// of a later one.
  virtual void on_closed(Connection& connection) noexcept = 0;
  /// Makes `size` more bytes fit the budget of all queues, at the cost of the connections that hold
  /// the most of it. False where no other connection holds more than `asking`.
  virtual bool reclaim(std::size_t size, const Connection& asking) noexcept = 0;
  virtual void count_closed_slow() noexcept = 0;
  virtual void count_closed_dead() noexcept = 0;

 protected:
  /// Throws std::system_error where no descriptor can be had.
  Loop(const FrameLimits& frames, const OutboxPool::Limits& queues, std::int64_t ping_interval_ms);
  ~Loop() = default;

  void read_clock() noexcept;
  int epoll_descriptor() const noexcept { return epoll_.get(); }

  Now now_;
  std::int64_t ping_interval_ms_;
  FrameLimits frame_limits_;
  OutboxPool pool_;
  TimerQueue timers_;
  // Events of this round that were not reported yet.
  std::span<epoll_event> unreported_;

 private:
  bool control(int operation, int descriptor, EventSource& source, std::uint32_t events) noexcept;

  FileDescriptor epoll_;
  std::vector<char> read_buffer_;
};

}  // namespace waystation
