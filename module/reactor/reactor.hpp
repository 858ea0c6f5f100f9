// The I/O thread: an epoll loop, its timers, tasks from other threads, and the connections that it
// owns.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/intrusive_queue.hpp"
#include "base/mutex.hpp"
#include "reactor/adopted_socket.hpp"
#include "reactor/connection.hpp"
#include "reactor/loop.hpp"
#include "reactor/release_gate.hpp"
#include "reactor/session.hpp"
#include "reactor/stream.hpp"
#include "reactor/task_queue.hpp"
#include "reactor/tls_stream.hpp"
#include "relay/outbox.hpp"
#include "websocket/frame_reader.hpp"

namespace waystation {

struct ReactorOptions {
  FrameLimits frames;
  OutboxPool::Limits queues;
  std::uint32_t ping_interval_seconds = 25;
  std::uint32_t busy_poll_microseconds = 0;  // how long to spin before sleeping
  // How long a web server may take to release a TLS session. Not live.
  std::uint32_t release_patience_ms = 10'000;
};

/// Statistics that any thread may read. Written by the reactor's thread only.
struct ReactorStats {
  std::atomic<std::uint64_t> connections = 0;   // open or closing, now
  std::atomic<std::uint64_t> queued_bytes = 0;  // in all outboxes, at the end of the last round
  std::atomic<std::uint64_t> closed_slow = 0;   // ended with receiver_too_slow
  std::atomic<std::uint64_t> closed_dead = 0;   // ended because the peer sent nothing
};

/// Runs from construction until stop(). Each function says which threads may call it; those of Loop
/// are for connections, sessions and event sources, on the reactor's own thread.
class Reactor final : public Loop {
 public:
  /// Makes the session of a connection, on the reactor's thread.
  using SessionMaker = std::function<std::unique_ptr<Session>(Connection&)>;
  /// Is told why a TLS stream was closed before its connection was open. On the reactor's thread.
  using ProblemReport = std::function<void(ReleaseGate::Problem)>;

  /// Throws std::system_error where no descriptor or thread can be had.
  explicit Reactor(const ReactorOptions& options);
  /// Stops.
  ~Reactor();

  /// Any thread: takes over a connection whose upgrade request was accepted. `response` is the 101,
  /// sent once the session is open; `permit` is kept until the stream is closed. False while the
  /// reactor drains, and once it has stopped. Then, and where std::bad_alloc is thrown, the stream
  /// or socket stays the caller's. `early`: see Connection::open.
  bool adopt(std::unique_ptr<Stream>& stream, std::string response, std::shared_ptr<void> permit,
             SessionMaker make_session, std::string early = {});
  /// The same, for a socket without a layer above it.
  bool adopt(AdoptedSocket& socket, std::string response, std::shared_ptr<void> permit,
             SessionMaker make_session, std::string early = {});
  /// The same, for a TLS stream that the web server still has to release; see ReleaseGate. `gate`
  /// stays the caller's too where this fails. Opening it counts as a connection for drain().
  bool adopt(std::unique_ptr<TlsStream>& stream, FileDescriptor& gate, std::string response,
             std::shared_ptr<void> permit, SessionMaker make_session, ProblemReport on_problem);

  /// Any thread: runs `task` on the reactor's. False, and it is not run, once stopped. See
  /// TaskQueue for exceptions.
  bool post(TaskQueue::Task task) { return tasks_.post(std::move(task)); }

  /// Any thread but the reactor's: accepts no new sockets and closes the open ones with going_away.
  /// Returns when all are closed, or after `deadline_ms`, when the rest is terminated. Takes no
  /// memory.
  void drain(std::uint32_t deadline_ms);

  /// Any thread but the reactor's: terminates what is open and ends the thread. May be repeated.
  void stop();

  const ReactorStats& stats() const noexcept { return stats_; }

  // ---- the reactor's thread only

  /// Applies every live option; not those of the thread itself.
  void apply(const ReactorOptions& options) noexcept;

  /// Null where there is no such connection any more, or it has ended.
  Connection* find(std::uint64_t id) noexcept;

  void touch(Connection& connection) noexcept override { touched_.push(connection); }
  void revisit(Connection& connection) noexcept override { revisits_.push(connection); }
  void on_closed(Connection& connection) noexcept override;
  bool defer_end(Connection& connection) noexcept override;
  bool reclaim(std::size_t size, const Connection& asking) noexcept override;
  void count_closed_slow() noexcept override;
  void count_closed_dead() noexcept override;

 private:
  void run();
  void round(int timeout_ms);
  int sleep_ms() const;
  void open(std::unique_ptr<Stream> stream, const std::string& response,
            std::shared_ptr<void> permit, const SessionMaker& make_session, std::string_view early);
  void begin_drain() noexcept;
  void destroy_closed() noexcept;
  void run_revisits() noexcept;
  void run_ends() noexcept;
  void finish_touched() noexcept;
  void terminate_all() noexcept;
  void end_drain() noexcept;
  bool is_stop_requested() const noexcept {
    return stop_requested_.load(std::memory_order_relaxed);
  }

  bool is_idle() const noexcept { return connections_.empty() && gates_.empty(); }

  std::uint32_t busy_poll_microseconds_;
  const std::uint32_t release_patience_ms_;
  ReactorStats stats_;
  TaskQueue tasks_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::list<ReleaseGate> gates_;  // about as many as the web server has threads
  std::uint64_t next_id_ = 1;
  IntrusiveQueue<Connection, &Connection::touched_link> touched_;
  IntrusiveQueue<Connection, &Connection::revisit_link> revisits_;
  IntrusiveQueue<Connection, &Connection::end_link> ends_;    // deferred
  std::size_t ends_handled_ = 0;                              // in this round
  IntrusiveQueue<Connection, &Connection::end_link> closed_;  // not destroyed yet
  std::size_t closed_count_ = 0;                              // of them
  std::atomic<bool> accepting_ = true;                        // new sockets
  std::atomic<bool> stop_requested_ = false;                  // nothing more is read
  Mutex drain_mutex_;
  Condition drain_ended_;
  std::int64_t wanted_drain_by_ms_ WAYSTATION_GUARDED_BY(drain_mutex_) =
      std::numeric_limits<std::int64_t>::max();
  bool is_drained_ WAYSTATION_GUARDED_BY(drain_mutex_) = false;  // and stays so
  // The rest is for the reactor's thread only.
  enum class Phase : std::uint8_t { serving, draining, drained } phase_ = Phase::serving;
  bool stopping_ = false;
  std::int64_t drain_by_ms_ = 0;  // while draining
  std::thread thread_;
};

}  // namespace waystation
