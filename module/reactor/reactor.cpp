#include "reactor/reactor.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include "base/thread.hpp"

namespace waystation {
namespace {

// With few events, the data of a round is still in the processor's cache when it is sent, and the
// spare blocks suffice for the outboxes.
constexpr std::size_t kEventsPerRound = 64;
// Connections that a round revisits, for the same reason.
constexpr std::size_t kRevisitsPerRound = 64;
// A round runs tasks twice at most. New sockets are tasks, of about 40 microseconds each: in a
// storm of connects, the messages of the others wait for a few of them only. A round with many
// events takes longer, and runs a task for each four of them.
constexpr std::size_t kTasksPerRun = 4;
constexpr std::size_t kEventsPerTask = 4;
// Ends of peers that a round handles. When thousands end at once, the messages of the others wait
// for a few of them only.
constexpr std::size_t kEndsPerRound = 4;
// Connections that a round destroys, as the kernel takes some microseconds to close a socket. And a
// part of those that wait, so that they cannot become more and more.
constexpr std::size_t kDestroyedPerRound = 8;
constexpr std::size_t kWaitingPerDestroyed = 256;
// How much longer than its deadline a drain may take to be answered.
constexpr std::chrono::milliseconds kDrainSlack{250};

using Task = TaskQueue::Task;

std::int64_t steady_microseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::int64_t ping_interval_ms(const ReactorOptions& options) noexcept {
  return std::int64_t{options.ping_interval_seconds} * 1000;
}

}  // namespace

Reactor::Reactor(const ReactorOptions& options)
    : Loop(options.frames, options.queues, waystation::ping_interval_ms(options)),
      busy_poll_microseconds_(options.busy_poll_microseconds),
      release_patience_ms_(options.release_patience_ms) {
  if (!add(tasks_.descriptor(), tasks_, EPOLLIN)) {
    throw std::system_error(errno, std::system_category(), "epoll_ctl");
  }
  thread_ = start_thread("waystation-io", [this] { run(); });
}

Reactor::~Reactor() {
  stop();
}

bool Reactor::adopt(std::unique_ptr<Stream>& stream, std::string response,
                    std::shared_ptr<void> permit, SessionMaker make_session, std::string early) {
  if (!accepting_.load(std::memory_order_relaxed)) return false;
  // std::function requires that what it holds can be copied.
  const auto shared = std::make_shared<std::unique_ptr<Stream>>();
  Task task = [this, shared, response = std::move(response), permit = std::move(permit),
               make_session = std::move(make_session), early = std::move(early)] {
    open(std::move(*shared), response, permit, make_session, early);
  };
  *shared = std::move(stream);
  try {
    if (post(std::move(task))) return true;
  } catch (...) {
    stream = std::move(*shared);
    throw;
  }
  stream = std::move(*shared);
  return false;
}

bool Reactor::adopt(AdoptedSocket& socket, std::string response, std::shared_ptr<void> permit,
                    SessionMaker make_session, std::string early) {
  auto plain = make_plain_stream(socket.get());
  auto& kept = *plain;
  std::unique_ptr<Stream> stream = std::move(plain);
  kept.swap(socket);
  try {
    if (adopt(stream, std::move(response), std::move(permit), std::move(make_session),
              std::move(early))) {
      return true;
    }
  } catch (...) {
    kept.swap(socket);
    throw;
  }
  kept.swap(socket);
  return false;
}

bool Reactor::adopt(std::unique_ptr<TlsStream>& stream, FileDescriptor& gate, std::string response,
                    std::shared_ptr<void> permit, SessionMaker make_session,
                    ProblemReport on_problem) {
  if (!accepting_.load(std::memory_order_relaxed)) return false;
  struct Waiting {
    std::unique_ptr<TlsStream> stream;
    FileDescriptor gate;
  };
  const auto waiting = std::make_shared<Waiting>();
  ReleaseGate::Done done = [this, response = std::move(response), permit = std::move(permit),
                            make_session = std::move(make_session),
                            on_problem = std::move(on_problem)](std::unique_ptr<Stream> released,
                                                                ReleaseGate::Problem problem) {
    if (problem != nullptr) return on_problem(problem);
    open(std::move(released), response, permit, make_session, {});
  };
  Task task = [this, waiting, done = std::move(done)] {
    if (phase_ == Phase::drained) return;
    try {
      gates_.emplace_back(*this, std::move(waiting->stream), std::move(waiting->gate), done);
    } catch (const std::bad_alloc&) {
      return done(nullptr, ReleaseGate::kNoMemory);
    }
    gates_.back().start(release_patience_ms_);
  };
  std::swap(waiting->stream, stream);
  std::swap(waiting->gate, gate);
  bool is_posted = false;
  try {
    is_posted = post(std::move(task));
  } catch (...) {
    std::swap(waiting->stream, stream);
    std::swap(waiting->gate, gate);
    throw;
  }
  if (is_posted) return true;
  std::swap(waiting->stream, stream);
  std::swap(waiting->gate, gate);
  return false;
}

void Reactor::open(std::unique_ptr<Stream> stream, const std::string& response,
                   std::shared_ptr<void> permit, const SessionMaker& make_session,
                   std::string_view early) {
  if (phase_ == Phase::drained) return;
  const auto id = next_id_++;
  auto made = std::make_unique<Connection>(*this, id, std::move(stream), std::move(permit));
  auto& connection = *connections_.emplace(id, std::move(made)).first->second;
  stats_.connections.store(connections_.size(), std::memory_order_relaxed);
  connection.open(make_session, response, early);
  // Admitted before the drain began: it is closed like those that were there.
  if (phase_ == Phase::draining) connection.close(CloseCode::going_away);
}

Connection* Reactor::find(std::uint64_t id) noexcept {
  const auto found = connections_.find(id);
  return found == connections_.end() || found->second->is_closed() ? nullptr : found->second.get();
}

bool Reactor::reclaim(std::size_t size, const Connection& asking) noexcept {
  // Each step sheds the largest queue, so that all steps together cost little more than one look at
  // every connection for each one that is closed here.
  while (!pool_.has_capacity(size)) {
    Connection* largest = nullptr;
    std::size_t most = asking.backlog();
    for (const auto& [id, connection] : connections_) {
      if (connection->backlog() <= most || connection->is_spent()) continue;
      most = connection->backlog();
      largest = connection.get();
    }
    if (largest == nullptr) return false;
    largest->shed_backlog();
  }
  return true;
}

void Reactor::count_closed_slow() noexcept {
  stats_.closed_slow.fetch_add(1, std::memory_order_relaxed);
}

void Reactor::count_closed_dead() noexcept {
  stats_.closed_dead.fetch_add(1, std::memory_order_relaxed);
}

void Reactor::apply(const ReactorOptions& options) noexcept {
  frame_limits_ = options.frames;
  pool_.set_limits(options.queues);
  busy_poll_microseconds_ = options.busy_poll_microseconds;
  const auto interval_ms = waystation::ping_interval_ms(options);
  if (std::exchange(ping_interval_ms_, interval_ms) == interval_ms) return;
  // No peer counts as dead for pings that a longer interval did not send.
  for (const auto& [id, connection] : connections_) connection->restart_heartbeat();
}

void Reactor::run() {
  while (!stopping_) round(sleep_ms());
  phase_ = Phase::drained;
  terminate_all();
  end_drain();
}

int Reactor::sleep_ms() const {
  if (!revisits_.empty() || !ends_.empty() || !closed_.empty() || tasks_.has_more()) return 0;
  constexpr std::int64_t kLongest = 60'000;
  auto next = timers_.next();
  if (phase_ == Phase::draining) {
    if (is_idle()) return 0;
    next = std::min(next, drain_by_ms_);
  } else if (next == TimerQueue::kNever) {
    return -1;
  }
  return static_cast<int>(std::clamp<std::int64_t>(next - now_.steady_ms, 0, kLongest));
}

void Reactor::round(int timeout_ms) {
  std::array<epoll_event, kEventsPerRound> events;
  const int epoll = epoll_descriptor();
  int count = 0;
  if (busy_poll_microseconds_ != 0 && timeout_ms != 0) {
    const auto until = steady_microseconds() + busy_poll_microseconds_;
    do {
      count = epoll_wait(epoll, events.data(), events.size(), 0);
    } while (count == 0 && steady_microseconds() < until);
  }
  if (count == 0) count = epoll_wait(epoll, events.data(), events.size(), timeout_ms);
  // epoll_wait can only fail with EINTR here: a round without events.
  unreported_ = std::span(events).first(static_cast<std::size_t>(std::max(count, 0)));
  read_clock();
  const auto revisits = revisits_.empty() ? 0 : kRevisitsPerRound;
  tasks_.set_tasks_per_run(
      std::max(kTasksPerRun, (unreported_.size() + revisits) / kEventsPerTask));
  // In each round, whether or not they are among the few events that the kernel reported this time.
  tasks_.run();
  if (!revisits_.empty() && !is_stop_requested()) run_revisits();
  run_ends();
  while (!unreported_.empty()) {
    if (is_stop_requested()) {
      // Sockets that are all full of input could make this round a long one.
      tasks_.run();
      break;
    }
    const auto event = unreported_.front();
    unreported_ = unreported_.subspan(1);
    // Null: removed in this round.
    auto* const source = static_cast<EventSource*>(event.data.ptr);
    if (source != nullptr) source->on_events(event.events);
  }
  unreported_ = {};
  timers_.run(now_.steady_ms);
  finish_touched();
  destroy_closed();
  if (!gates_.empty()) gates_.remove_if([](const ReleaseGate& gate) { return gate.is_done(); });
  stats_.connections.store(connections_.size(), std::memory_order_relaxed);
  stats_.queued_bytes.store(pool_.queued_bytes(), std::memory_order_relaxed);

  const bool is_empty = is_idle() && !tasks_.has_more();
  if (phase_ == Phase::draining && (is_empty || now_.steady_ms >= drain_by_ms_)) {
    phase_ = Phase::drained;
    terminate_all();
    end_drain();
  }
}

void Reactor::run_revisits() noexcept {
  // Those that ask again meanwhile wait for the next round.
  IntrusiveQueue<Connection, &Connection::revisit_link> due;
  for (std::size_t i = 0; i < kRevisitsPerRound && !revisits_.empty(); ++i) {
    due.push(*revisits_.pop());
  }
  while (auto* const connection = due.pop()) connection->on_revisit();
}

void Reactor::run_ends() noexcept {
  for (ends_handled_ = 0; ends_handled_ < kEndsPerRound && !ends_.empty(); ++ends_handled_) {
    auto& connection = *ends_.pop();
    if (connection.is_closed()) {
      on_closed(connection);
    } else {
      connection.on_deferred_end();
    }
  }
}

void Reactor::on_closed(Connection& connection) noexcept {
  if (connection.end_link.is_queued()) return;  // until run_ends() comes to it
  closed_.push(connection);
  ++closed_count_;
}

bool Reactor::defer_end(Connection& connection) noexcept {
  if (ends_handled_ < kEndsPerRound) {
    ++ends_handled_;
    return false;
  }
  ends_.push(connection);
  return true;
}

void Reactor::destroy_closed() noexcept {
  const auto wanted = kDestroyedPerRound + closed_count_ / kWaitingPerDestroyed;
  const auto count = std::min(wanted, closed_count_);
  for (std::size_t i = 0; i < count; ++i) {
    auto& connection = *closed_.pop();
    if (connection.revisit_link.is_queued()) {
      closed_.push(connection);  // until the revisits have come to it
    } else {
      connections_.erase(connection.id());
      --closed_count_;
    }
  }
}

void Reactor::end_drain() noexcept {
  const MutexLock lock(drain_mutex_);
  is_drained_ = true;
  drain_ended_.notify_all();
}

void Reactor::finish_touched() noexcept {
  // Both steps may touch further connections: the others of a group are told who has left. All
  // closing begins before the first flush, so that one send carries all messages of a connection.
  while (!touched_.empty()) {
    for (auto* connection = touched_.front(); connection != nullptr;
         connection = touched_.after(*connection)) {
      if (connection->has_close_request()) connection->on_close_request();
    }
    auto flushing = std::exchange(touched_, {});
    while (auto* const connection = flushing.pop()) {
      connection->flush();
      // Another connection's end may have filled its queue since.
      if (connection->has_close_request()) touched_.push(*connection);
    }
  }
}

void Reactor::terminate_all() noexcept {
  for (const auto& [id, connection] : connections_) connection->terminate(EndReason::going_away);
  touched_ = {};
  revisits_ = {};
  ends_ = {};
  closed_ = {};
  closed_count_ = 0;
  connections_.clear();
  gates_.clear();
  stats_.connections.store(0, std::memory_order_relaxed);
  stats_.queued_bytes.store(pool_.queued_bytes(), std::memory_order_relaxed);
}

void Reactor::drain(std::uint32_t deadline_ms) {
  using std::chrono::milliseconds;
  accepting_.store(false, std::memory_order_relaxed);
  // It is answered at the end of a round, which hostile peers can make a long one.
  const auto by = std::chrono::steady_clock::now() + milliseconds(deadline_ms);
  const auto by_ms = std::chrono::duration_cast<milliseconds>(by.time_since_epoch()).count();
  const MutexLock lock(drain_mutex_);
  // A further drain may bring the end nearer, not put it off.
  wanted_drain_by_ms_ = std::min<std::int64_t>(wanted_drain_by_ms_, by_ms);
  if (!tasks_.post_without_memory([this] { begin_drain(); })) return;
  while (!is_drained_ && drain_ended_.wait_until(drain_mutex_, by + kDrainSlack)) {
  }
}

void Reactor::begin_drain() noexcept {
  {
    const MutexLock lock(drain_mutex_);
    drain_by_ms_ = wanted_drain_by_ms_;
  }
  if (phase_ == Phase::drained) return;
  phase_ = Phase::draining;
  for (const auto& [id, connection] : connections_) connection->close(CloseCode::going_away);
}

void Reactor::stop() {
  accepting_.store(false, std::memory_order_relaxed);
  stop_requested_.store(true, std::memory_order_relaxed);
  tasks_.close([this] { stopping_ = true; });
  if (thread_.joinable()) thread_.join();
}

}  // namespace waystation
