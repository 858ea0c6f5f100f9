// The one thread that talks: an epoll loop, its timers, tasks from other threads, and the
// connections it owns.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "reactor/adopted_socket.hpp"
#include "reactor/connection.hpp"
#include "reactor/file_descriptor.hpp"
#include "reactor/mutex.hpp"
#include "reactor/session.hpp"
#include "reactor/task_queue.hpp"
#include "reactor/timer_queue.hpp"
#include "relay/now.hpp"
#include "relay/outbox.hpp"
#include "websocket/frame_reader.hpp"

namespace waystation {

struct ReactorOptions {
  FrameLimits frames;
  OutboxPool::Limits queues;
  std::uint32_t ping_interval_seconds = 25;
  std::uint32_t busy_poll_microseconds = 0;  // how long to spin before sleeping
};

/// Figures that any thread may read. Written by the reactor's thread only.
struct ReactorFigures {
  std::atomic<std::uint64_t> connections = 0;   // open or closing, now
  std::atomic<std::uint64_t> queued_bytes = 0;  // in all outboxes, at the end of the last round
  std::atomic<std::uint64_t> closed_slow = 0;   // ended with receiver_too_slow
  std::atomic<std::uint64_t> closed_dead = 0;   // ended since nothing was heard of the peer
};

/// Runs from construction until stop(). Functions say which threads may call them; those of the
/// second part are for connections and sessions, on the reactor's own thread.
class Reactor {
 public:
  /// Makes the session of a connection, on the reactor's thread.
  using SessionMaker = std::function<std::unique_ptr<Session>(Connection&)>;

  /// Throws std::system_error where no descriptor or thread can be had.
  explicit Reactor(const ReactorOptions& options);
  /// Stops.
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// Any thread: takes over a connected socket whose upgrade request was accepted. `response` is
  /// the 101, sent behind the session's opening; `place` is kept until the socket is closed. False
  /// once the reactor is draining or stopped. Then, and where std::bad_alloc is thrown, the socket
  /// stays the caller's.
  bool adopt(AdoptedSocket& socket, std::string response, std::shared_ptr<void> place,
             SessionMaker make_session);

  /// Any thread: runs `task` on the reactor's. False, and it is not run, once stopped. See
  /// TaskQueue for what is thrown.
  bool post(TaskQueue::Task task) { return tasks_.post(std::move(task)); }

  /// Any thread but the reactor's: takes no new sockets, closes the open ones with going_away, and
  /// returns once all are closed or `deadline_ms` have passed and the rest was cut. Takes no
  /// memory.
  void drain(std::uint32_t deadline_ms);

  /// Any thread but the reactor's: cuts what is open and ends the thread. Legal twice.
  void stop();

  const ReactorFigures& figures() const noexcept { return figures_; }

  // ---- the reactor's thread only

  const Now& now() const noexcept { return now_; }
  std::int64_t now_ms() const noexcept { return now_.steady_ms; }
  std::int64_t ping_interval_ms() const noexcept { return ping_interval_ms_; }
  OutboxPool& pool() noexcept { return pool_; }
  const FrameLimits& frame_limits() const noexcept { return frame_limits_; }
  /// What the next bytes of a connection are to be read into, whose current frame lacks so many.
  std::span<char> read_buffer(std::uint64_t frame_rest) noexcept;

  /// Any live option at all but those of the thread itself.
  void apply(const ReactorOptions& options);

  Connection* find(std::uint64_t id) noexcept;
  void add_touched(Connection& connection) noexcept;
  /// Calls the connection's on_unread in a later round, which is not waited for. Throws
  /// std::bad_alloc.
  void add_unread(Connection& connection);
  /// Calls the connection's on_timer at `deadline_ms`, unless that is due sooner anyway. Throws
  /// std::bad_alloc for one that has no timer yet, which is only while it is opened.
  void wake_at(std::int64_t deadline_ms, Connection& connection);
  /// False where epoll refuses.
  bool watch(Connection& connection, bool readable, bool writable) noexcept;
  /// The connection has closed itself; it is destroyed at the end of the round.
  void forget(Connection& connection) noexcept;
  /// Sees to it that `size` bytes more are within the budget of all queues, at the cost of those
  /// that hold the most of it. False where nobody holds more than `asking`.
  bool make_room(std::size_t size, const Connection& asking) noexcept;
  void count_closed_slow() noexcept;
  void count_closed_dead() noexcept;

 private:
  void run();
  void round(int timeout_ms);
  int sleep_ms() const;
  void read_clock() noexcept;
  void open(AdoptedSocket socket, const std::string& response, std::shared_ptr<void> place,
            const SessionMaker& make_session);
  void begin_drain() noexcept;
  void destroy_closed() noexcept;
  void set_timer(std::int64_t deadline_ms, Connection& connection);
  void run_due_timers();
  void handle_unread() noexcept;
  void settle_and_flush();
  void cut_all() noexcept;
  void end_drain() noexcept;

  FrameLimits frame_limits_;
  OutboxPool pool_;
  std::int64_t ping_interval_ms_;
  std::uint32_t busy_poll_microseconds_;
  ReactorFigures figures_;
  FileDescriptor epoll_;
  TaskQueue tasks_;
  TimerQueue timers_;
  Now now_;
  std::vector<char> read_buffer_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::uint64_t next_id_ = 1;
  std::deque<std::uint64_t> unread_;  // connections with bytes that were read and not handled
  // Lists through the connections themselves, so that joining one needs no memory.
  Connection* first_touched_ = nullptr;
  Connection* last_touched_ = nullptr;
  Connection* first_closed_ = nullptr;  // to be destroyed at the end of the round
  std::atomic<bool> refusing_ = false;  // new sockets
  std::atomic<bool> hurrying_ = false;  // to its end: nothing more is read
  Mutex drain_mutex_;
  Condition drain_ended_;
  std::int64_t wanted_drain_by_ms_ WAYSTATION_GUARDED_BY(drain_mutex_) =
      std::numeric_limits<std::int64_t>::max();
  bool is_drained_ WAYSTATION_GUARDED_BY(drain_mutex_) = false;  // and stays so
  // The rest is the reactor's thread's only.
  enum class Phase : std::uint8_t { serving, draining, drained } phase_ = Phase::serving;
  bool stopping_ = false;
  std::int64_t drain_by_ms_ = 0;  // while draining
  std::thread thread_;
};

}  // namespace waystation
