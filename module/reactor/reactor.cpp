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

// Few enough that what a round touches is still in the processor's cache when it is sent, and that
// the outboxes it fills find their memory among the spare blocks.
constexpr std::size_t kEventsPerRound = 64;
constexpr std::size_t kReadBufferBytes = 256 * 1024;
// What is read at once of one socket, and not of a long frame. So much may wait in memory for a
// socket that is paused.
constexpr std::size_t kReadBytes = 8 * 1024;
// How much longer than its deadline a drain may take to be answered.
constexpr std::chrono::milliseconds kDrainSlack{250};

using Task = TaskQueue::Task;

std::int64_t steady_microseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Deals with one connection; what that throws is that connection's end and nobody else's.
template <typename F>
void guard(Connection& connection, F&& deal) noexcept {
  try {
    deal();
  } catch (...) {
    connection.fail();
  }
}

}  // namespace

Reactor::Reactor(const ReactorOptions& options)
    : frame_limits_(options.frames),
      pool_(options.queues),
      ping_interval_ms_(std::int64_t{options.ping_interval_seconds} * 1000),
      busy_poll_microseconds_(options.busy_poll_microseconds),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      read_buffer_(kReadBufferBytes) {
  if (!epoll_) throw std::system_error(errno, std::system_category(), "epoll_create1");
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, tasks_.descriptor(), &event) != 0) {
    throw std::system_error(errno, std::system_category(), "epoll_ctl");
  }
  read_clock();
  thread_ = start_thread("waystation-io", [this] { run(); });
}

Reactor::~Reactor() {
  stop();
}

bool Reactor::adopt(AdoptedSocket& socket, std::string response, std::shared_ptr<void> place,
                    SessionMaker make_session) {
  if (refusing_.load(std::memory_order_relaxed)) return false;
  // std::function wants what it holds to be copyable.
  const auto shared = std::make_shared<AdoptedSocket>();
  Task task = [this, shared, response = std::move(response), place = std::move(place),
               make_session = std::move(make_session)] {
    open(std::move(*shared), response, place, make_session);
  };
  *shared = std::move(socket);
  try {
    if (post(std::move(task))) return true;
  } catch (...) {
    socket = std::move(*shared);
    throw;
  }
  socket = std::move(*shared);
  return false;
}

void Reactor::open(AdoptedSocket socket, const std::string& response, std::shared_ptr<void> place,
                   const SessionMaker& make_session) {
  if (phase_ == Phase::drained) return;
  const auto id = next_id_++;
  const int fd = socket.get();
  auto made = std::make_unique<Connection>(*this, id, std::move(socket), std::move(place));
  auto& connection = *connections_.emplace(id, std::move(made)).first->second;
  figures_.connections.store(connections_.size(), std::memory_order_relaxed);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &connection;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return connection.cut();
  guard(connection, [&] {
    connection.open(make_session(connection), response);
    wake_at(connection.on_timer(), connection);
  });
  // Admitted before the drain began: it hears the same as those that were there.
  if (phase_ == Phase::draining) connection.close(CloseCode::going_away);
}

Connection* Reactor::find(std::uint64_t id) noexcept {
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second.get();
}

void Reactor::wake_at(std::int64_t deadline_ms, Connection& connection) {
  if (connection.is_closed()) return;
  if (deadline_ms < connection.wakes_at_ms) set_timer(deadline_ms, connection);
}

void Reactor::set_timer(std::int64_t deadline_ms, Connection& connection) {
  timers_.move(connection.id(), connection.wakes_at_ms, deadline_ms);
  connection.wakes_at_ms = deadline_ms;
}

bool Reactor::watch(Connection& connection, bool readable, bool writable) noexcept {
  epoll_event event{};
  if (readable) event.events |= EPOLLIN;
  if (writable) event.events |= EPOLLOUT;
  event.data.ptr = &connection;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.descriptor(), &event) == 0;
}

void Reactor::add_touched(Connection& connection) noexcept {
  connection.is_touched = true;
  connection.next_touched = nullptr;
  (first_touched_ == nullptr ? first_touched_ : last_touched_->next_touched) = &connection;
  last_touched_ = &connection;
}

void Reactor::add_unread(Connection& connection) {
  if (connection.has_unread_turn) return;
  unread_.push_back(connection.id());
  connection.has_unread_turn = true;
}

void Reactor::forget(Connection& connection) noexcept {
  // Fails only where it was never added. Closing the descriptor, its last, takes it out as well.
  (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.descriptor(), nullptr);
  set_timer(TimerQueue::kNever, connection);
  connection.next_closed = std::exchange(first_closed_, &connection);
}

bool Reactor::make_room(std::size_t size, const Connection& asking) noexcept {
  // Each turn of the outer loop takes away from the largest queue, so all of them together cost
  // little more than one look at every connection for every one that is closed here.
  while (!pool_.has_capacity(size)) {
    Connection* largest = nullptr;
    std::size_t most = asking.backlog();
    for (const auto& [id, connection] : connections_) {
      if (connection->backlog() <= most || connection->is_spent()) continue;
      most = connection->backlog();
      largest = connection.get();
    }
    if (largest == nullptr) return false;
    largest->yield_room();
  }
  return true;
}

void Reactor::count_closed_slow() noexcept {
  figures_.closed_slow.fetch_add(1, std::memory_order_relaxed);
}

void Reactor::count_closed_dead() noexcept {
  figures_.closed_dead.fetch_add(1, std::memory_order_relaxed);
}

void Reactor::apply(const ReactorOptions& options) {
  frame_limits_ = options.frames;
  pool_.set_limits(options.queues);
  busy_poll_microseconds_ = options.busy_poll_microseconds;
  const auto interval_ms = std::int64_t{options.ping_interval_seconds} * 1000;
  if (std::exchange(ping_interval_ms_, interval_ms) == interval_ms) return;
  // Nobody is dead for not having answered pings that a longer interval did not send.
  for (const auto& [id, connection] : connections_) {
    guard(*connection, [&restarted = *connection] { restarted.restart_heartbeat(); });
  }
}

void Reactor::read_clock() noexcept {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  now_.wall_ms =
      duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  now_.steady_ms =
      duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Reactor::run() {
  while (!stopping_) round(sleep_ms());
  phase_ = Phase::drained;
  cut_all();
  end_drain();
}

int Reactor::sleep_ms() const {
  if (!unread_.empty()) return 0;
  constexpr std::int64_t kLongest = 60'000;
  auto next = now_.steady_ms + kLongest;
  if (const auto timer = timers_.next()) next = std::min(next, timer->deadline_ms);
  if (phase_ == Phase::draining) {
    if (connections_.empty()) return 0;
    next = std::min(next, drain_by_ms_);
  } else if (connections_.empty()) {
    return -1;
  }
  return static_cast<int>(std::clamp<std::int64_t>(next - now_.steady_ms, 0, kLongest));
}

void Reactor::round(int timeout_ms) {
  std::array<epoll_event, kEventsPerRound> events;
  int count = 0;
  if (busy_poll_microseconds_ != 0 && timeout_ms != 0) {
    const auto until = steady_microseconds() + busy_poll_microseconds_;
    do {
      count = epoll_wait(epoll_.get(), events.data(), events.size(), 0);
    } while (count == 0 && steady_microseconds() < until);
  }
  if (count == 0) count = epoll_wait(epoll_.get(), events.data(), events.size(), timeout_ms);
  // Its only failure is EINTR, with the descriptor and the memory ours: a round without events.
  read_clock();
  // In each round, whether or not they are among the few that the kernel told of this time.
  tasks_.run();
  if (!unread_.empty() && !hurrying_.load(std::memory_order_relaxed)) handle_unread();
  for (int i = 0; i < count; ++i) {
    if (hurrying_.load(std::memory_order_relaxed)) {
      // Sockets that are all full of input could make this round a long one.
      tasks_.run();
      break;
    }
    const auto& event = events[static_cast<std::size_t>(i)];
    // One that was closed in this round is still there to say so; later rounds hear nothing of it.
    auto* const connection = static_cast<Connection*>(event.data.ptr);
    if (connection == nullptr) {
      tasks_.on_readable();
      continue;
    }
    if ((event.events & EPOLLOUT) != 0) connection->on_writable();
    const bool has_ended = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
    if (has_ended || (event.events & EPOLLIN) != 0) {
      guard(*connection, [&] { connection->on_readable(has_ended); });
    }
  }
  run_due_timers();
  settle_and_flush();
  destroy_closed();
  figures_.connections.store(connections_.size(), std::memory_order_relaxed);
  figures_.queued_bytes.store(pool_.queued_bytes(), std::memory_order_relaxed);

  if (phase_ == Phase::draining && (connections_.empty() || now_.steady_ms >= drain_by_ms_)) {
    phase_ = Phase::drained;
    cut_all();
    end_drain();
  }
}

void Reactor::handle_unread() noexcept {
  for (auto turns = std::min(unread_.size(), kEventsPerRound); turns != 0; --turns) {
    auto* const connection = find(unread_.front());
    unread_.pop_front();
    if (connection == nullptr) continue;  // closed meanwhile
    connection->has_unread_turn = false;
    guard(*connection, [connection] { connection->on_unread(); });
  }
}

void Reactor::destroy_closed() noexcept {
  for (auto* connection = std::exchange(first_closed_, nullptr); connection != nullptr;) {
    const auto id = connection->id();
    connection = connection->next_closed;
    connections_.erase(id);
  }
}

void Reactor::end_drain() noexcept {
  const MutexLock lock(drain_mutex_);
  is_drained_ = true;
  drain_ended_.notify_all();
}

void Reactor::run_due_timers() {
  for (auto due = timers_.next(); due && due->deadline_ms <= now_.steady_ms; due = timers_.next()) {
    auto& connection = *find(due->id);  // what is closed has no timer
    auto next = now_.steady_ms + 1;
    guard(connection, [&] { next = std::max(next, connection.on_timer()); });
    if (!connection.is_closed()) set_timer(next, connection);
  }
}

void Reactor::settle_and_flush() {
  // Both may touch further connections: who leaves is told to the others of the group. All are
  // settled before the first is flushed, so that one send carries what all of them said.
  while (first_touched_ != nullptr) {
    for (auto* connection = first_touched_; connection != nullptr;
         connection = connection->next_touched) {
      guard(*connection, [connection] { connection->settle(); });
    }
    for (auto* connection = std::exchange(first_touched_, nullptr); connection != nullptr;) {
      auto& flushed = *connection;
      connection = connection->next_touched;
      flushed.is_touched = false;
      guard(flushed, [&flushed] { flushed.flush(); });
      // Settled before somebody else's leaving filled its queue.
      if (flushed.is_unsettled() && !flushed.is_touched) add_touched(flushed);
    }
  }
}

void Reactor::cut_all() noexcept {
  for (const auto& [id, connection] : connections_) connection->cut(EndReason::going_away);
  first_touched_ = first_closed_ = nullptr;
  connections_.clear();
  figures_.connections.store(0, std::memory_order_relaxed);
  figures_.queued_bytes.store(pool_.queued_bytes(), std::memory_order_relaxed);
}

void Reactor::drain(std::uint32_t deadline_ms) {
  using std::chrono::milliseconds;
  refusing_.store(true, std::memory_order_relaxed);
  // It is answered at the end of a round, and rounds may be long where peers see to that.
  const auto by = std::chrono::steady_clock::now() + milliseconds(deadline_ms);
  const auto by_ms = std::chrono::duration_cast<milliseconds>(by.time_since_epoch()).count();
  const MutexLock lock(drain_mutex_);
  // A further drain may bring the end nearer, not put it off.
  wanted_drain_by_ms_ = std::min<std::int64_t>(wanted_drain_by_ms_, by_ms);
  if (!tasks_.post_without_memory([this] { begin_drain(); })) return;
  while (!is_drained_ && drain_ended_.wait_until(drain_mutex_, by + kDrainSlack)) {
  }
}

std::span<char> Reactor::read_buffer(std::uint64_t frame_rest) noexcept {
  const auto size = std::min<std::uint64_t>(frame_rest + kReadBytes, read_buffer_.size());
  return std::span(read_buffer_).first(static_cast<std::size_t>(size));
}

void Reactor::begin_drain() noexcept {
  {
    const MutexLock lock(drain_mutex_);
    drain_by_ms_ = wanted_drain_by_ms_;
  }
  if (phase_ == Phase::drained) return;
  phase_ = Phase::draining;
  for (const auto& [id, connection] : connections_) {
    guard(*connection, [&ending = *connection] { ending.close(CloseCode::going_away); });
  }
}

void Reactor::stop() {
  refusing_.store(true, std::memory_order_relaxed);
  hurrying_.store(true, std::memory_order_relaxed);
  tasks_.close([this] { stopping_ = true; });
  if (thread_.joinable()) thread_.join();
}

}  // namespace waystation
