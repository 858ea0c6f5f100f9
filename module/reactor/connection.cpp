#include "reactor/connection.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "websocket/frame_writer.hpp"

namespace waystation {
namespace {

// Time for the session to accept the connection.
constexpr std::int64_t kAcceptMs = 2'000;
// Time for a peer to receive what is queued before our Close, and to answer it.
constexpr std::int64_t kCloseMs = 10'000;
// Time for it to end the TCP connection after that. The server ends its direction first (section
// 7.1.1).
constexpr std::int64_t kLingerMs = 2'000;
// Frames of one socket that are handled at once, while all others wait. Small frames cost most for
// their size. More than the usual number of messages in one read.
constexpr std::size_t kFramesAtOnce = 128;
/// The reason for the end of a connection that this side closes with `code`.
EndReason reason_for(CloseCode code) noexcept {
  switch (code) {
    case CloseCode::going_away:
      return EndReason::going_away;
    case CloseCode::token_expired:
      return EndReason::expired;
    case CloseCode::ended_by_administrator:
      return EndReason::ended;
    case CloseCode::receiver_too_slow:
      return EndReason::slow;
    case CloseCode::internal_error:
      return EndReason::failed;
    case CloseCode::protocol_error:
    case CloseCode::unsupported_data:
    case CloseCode::invalid_payload:
    case CloseCode::policy_violation:
    case CloseCode::message_too_big:
      return EndReason::violation;
    default:
      return EndReason::closed;
  }
}

}  // namespace

void UnreadBytes::keep(std::span<const char> rest) {
  if (rest.empty()) {
    bytes_.reset();
  } else if (bytes_ != nullptr) {
    begin_ = static_cast<std::uint16_t>(end_ - rest.size());
  } else {
    bytes_ = std::make_unique_for_overwrite<char[]>(rest.size());
    std::memcpy(bytes_.get(), rest.data(), rest.size());
    begin_ = 0;
    end_ = static_cast<std::uint16_t>(rest.size());
  }
}

Connection::Connection(Loop& loop, std::uint64_t id, std::unique_ptr<Stream> stream,
                       std::shared_ptr<void> permit)
    : Timer(loop.timers()),
      plain_descriptor_(stream->plain_descriptor()),
      loop_(loop),
      stream_(std::move(stream)),
      outbox_(loop.pool()),
      reader_(loop.frame_limits()),
      deadlines_(loop.now_ms(), loop.ping_interval_ms()),
      id_(id),
      permit_(std::move(permit)) {
  const int on = 1;
  // A unix socket has no such option, and without it only latency suffers.
  (void)setsockopt(stream_->descriptor(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Connection::~Connection() {
  stream_.reset();  // before the permit
}

Stream::Result Connection::read_stream(std::span<char> buffer) noexcept {
  if (plain_descriptor_ >= 0) return PlainStream::read_from(plain_descriptor_, buffer);
  return stream_->read(buffer);
}

Stream::Result Connection::write_stream(std::span<const char> bytes) noexcept {
  if (plain_descriptor_ >= 0) return PlainStream::write_to(plain_descriptor_, bytes);
  return stream_->write(bytes);
}

bool Connection::start_watching() noexcept {
  Timer::set(next_deadline());
  return loop_.add(stream_->descriptor(), *this, EPOLLIN);
}

void Connection::open_session(std::unique_ptr<Session> session, std::string_view response) {
  outbox_.append_always({response});
  session_ = std::move(session);
  touch();
  session_->on_open();
  in_session_ = true;
}

void Connection::wait_for_accept() {
  deadlines_.accept_by(loop_.now_ms() + kAcceptMs);
  Timer::set_sooner(next_deadline());
  watch();
}

void Connection::accept() noexcept {
  if (state_ != State::opening) return;
  state_ = State::open;
  if (!in_session_) return;  // open() does the rest
  deadlines_.restart(loop_.now_ms(), loop_.ping_interval_ms());
  Timer::set(next_deadline());
  watch();
  touch();
  read_on();
}

/// Continues with bytes that were read before, or that the stream holds. For one that was accepted.
void Connection::read_on() noexcept {
  if (state_ == State::opening || state_ == State::closed) return;
  read_again_ = stream_->has_pending();
  if (unread_ || read_again_) loop_.revisit(*this);
}

/// Answers with a plain HTTP response in place of the 101.
void Connection::refuse() {
  outbox_.discard();
  state_ = State::closing;
  peer_done_ = true;
  unread_.keep({});
  const auto response = session_->on_refused();
  end_session();
  outbox_.append_always({response});
  deadlines_.close_by(loop_.now_ms() + kCloseMs);
  Timer::set_sooner(next_deadline());
  watch();
  touch();
}

void Connection::touch() noexcept {
  if (!touched_link.is_queued()) loop_.touch(*this);
}

bool Connection::send(Opcode opcode, std::initializer_list<std::string_view> parts) {
  if (state_ != State::open || wanted_close_ != CloseCode::no_status) return false;
  std::size_t size = 0;
  for (const auto part : parts) size += part.size();
  const FrameHeader header(opcode, size);
  // The protocol's own frames have at most three parts.
  const auto* part = parts.begin();
  const auto next = [&]() { return part != parts.end() ? *part++ : std::string_view(); };
  const auto first = next();
  const auto second = next();
  const auto third = next();
  // Answers to pings may be many and as small as two bytes.
  const auto kind = is_control(opcode) ? Outbox::Unit::mergeable : Outbox::Unit::separate;
  const auto queue = [&] { return outbox_.append({header.view(), first, second, third}, kind); };
  touch();
  if (queue() || (reclaim(header.view().size() + size) && queue())) return true;
  too_slow_ = true;
  note_end(EndReason::slow);
  wanted_close_ = CloseCode::receiver_too_slow;
  return false;
}

bool Connection::reclaim(std::size_t size) noexcept {
  // The events of this round may have filled the queue before the kernel was offered any of it.
  transmit();
  if (backlog() + size > loop_.pool().limits().max_queue_bytes) return false;
  return loop_.reclaim(size, *this);
}

void Connection::shed_backlog() noexcept {
  const auto before = backlog();
  transmit();
  // Less than a quarter does not count. Each reclaim looks at all connections for the largest
  // queue: a peer that takes a few bytes at a time could cause that for every message of others.
  const auto now = backlog();
  if (now < before && now <= before - before / 4) return;
  // Its session is over, and its peer does not take the last bytes.
  if (state_ != State::open) return abort();
  too_slow_ = true;
  note_end(EndReason::slow);
  if (wanted_close_ == CloseCode::no_status) wanted_close_ = CloseCode::receiver_too_slow;
  touch();
  drop_unbegun();
}

void Connection::drop_unbegun() noexcept {
  outbox_.drop_unstarted();
  session_->on_lost(outbox_.queued_offset());
}

void Connection::close(CloseCode code) noexcept {
  if (state_ > State::open || wanted_close_ != CloseCode::no_status) return;
  wanted_close_ = code;
  note_end(reason_for(code));
  too_slow_ = code == CloseCode::receiver_too_slow;
  touch();
}

void Connection::pause_reading(std::int64_t us) noexcept {
  if (state_ != State::open) return;
  const bool was_set = pause_.is_set();
  pause_.extend(us, loop_.now_ms());
  if (is_paused()) Timer::set_sooner(pause_.end_ms());
  if (!was_set) watch();
}

/// Continues with bytes that were read before, otherwise with reading.
void Connection::resume_reading() noexcept {
  if (state_ == State::closed) return;
  if (unread_) return loop_.revisit(*this);
  if (pause_.is_set()) {
    pause_.clear();
    watch();
  }
  if (read_again_) loop_.revisit(*this);
}

void Connection::set_expiry(std::int64_t steady_ms) noexcept {
  deadlines_.set_expiry(steady_ms);
  if (state_ <= State::open) Timer::set_sooner(next_deadline());
}

std::uint64_t Connection::acknowledged_offset() const noexcept {
  const auto sent = outbox_.sent_offset();
  return sent - std::min(sent, stream_->unacknowledged_bytes());
}

void Connection::on_close_request() noexcept {
  if (!has_close_request()) return;
  guard([this] {
    if (state_ == State::opening) return refuse();
    const auto code = wanted_close_;
    if (too_slow_) {
      // The kernel gets what it can still take; after that, only what was begun is completed.
      transmit();
      if (broken_) return terminate();
      drop_unbegun();
    }
    if (code == CloseCode::receiver_too_slow) loop_.count_closed_slow();
    start_closing(code, close_reason(code));
  });
}

void Connection::note_end(EndReason reason) noexcept {
  if (!end_reason_) end_reason_ = reason;
}

void Connection::start_closing(CloseCode code, std::string_view reason) {
  state_ = State::closing;
  close_code_ = code;
  note_end(reason_for(code));
  // The peer's Close is waited for, so the pause ends now.
  pause_.shorten(loop_.now_ms());
  resume_reading();
  end_session();
  // The session told others, and one of them may have needed the memory that this one held.
  if (state_ == State::closed) return;
  const auto payload = close_payload(code, reason);
  outbox_.append_always({FrameHeader(Opcode::close, payload.size()).view(), payload});
  deadlines_.close_by(loop_.now_ms() + kCloseMs);
  Timer::set_sooner(next_deadline());
  touch();
}

void Connection::end_session() noexcept {
  if (!in_session_) return;
  in_session_ = false;
  session_->on_end();
}

void Connection::on_events(std::uint32_t events) noexcept {
  constexpr std::uint32_t kHungUp = EPOLLERR | EPOLLHUP;
  if ((events & (kHungUp | EPOLLRDHUP)) != 0) {
    if ((events & kHungUp) != 0) is_hung_up_ = true;
    if (loop_.defer_end(*this)) return loop_.suspend(stream_->descriptor());
  }
  handle_events(events);
}

void Connection::on_deferred_end() noexcept {
  handle_events(EPOLLIN);
  if (state_ != State::closed) watch();
}

void Connection::handle_events(std::uint32_t events) noexcept {
  guard([this, events] {
    if ((events & EPOLLOUT) != 0) on_writable();
    if (is_hung_up_ || (events & EPOLLIN) != 0) on_readable();
  });
}

void Connection::on_readable() {
  if (state_ == State::closed) return;
  if (blocked_ && write_wants_read_) {
    set_blocked(false);
    touch();
  }
  if (pause_.is_set() || state_ == State::opening) {
    // Epoll reports the end of a descriptor that it does not watch, too.
    if (is_hung_up_) terminate();
    return;
  }
  // Bytes that were read before come first, when the reactor revisits this.
  if (!unread_) read();
}

void Connection::on_writable() noexcept {
  if (state_ == State::closed) return;
  if (!write_wants_read_) set_blocked(false);
  touch();
  if (read_wants_write_) {
    read_wants_write_ = false;
    watch();
    read_again_ = true;
    loop_.revisit(*this);
  }
}

void Connection::on_revisit() noexcept {
  guard([this] {
    if (state_ == State::opening || state_ == State::closed) return;
    if (unread_) {
      handle(unread_.view());
    } else if (read_again_ && !read_wants_write_ && !pause_.is_set()) {
      read();
    }
  });
}

void Connection::read() {
  const auto buffer = loop_.read_buffer(reader_.frame_rest());
  const auto result = read_stream(buffer);
  read_again_ = result.has_pending;
  if (result.bytes != 0) {
    deadlines_.on_received(loop_.now_ms());
    if (!peer_done_) handle(buffer.first(result.bytes));
    if (state_ == State::closed) return;
  }
  if (result.holds_bytes) {
    write_unfinished_ = true;
    touch();
  }
  switch (result.status) {
    case Stream::Status::ok:
    case Stream::Status::want_read:
      break;
    case Stream::Status::want_write:
      read_wants_write_ = true;
      watch();
      break;
    case Stream::Status::ended:
    case Stream::Status::broken:
      return terminate();
  }
  // While reading waits for the descriptor, on_writable() goes on with it.
  if (read_again_ && !read_wants_write_ && !unread_ && !pause_.is_set()) loop_.revisit(*this);
}

/// Handles frames at the front of `bytes`, as far as a pause and fairness allow, and keeps the
/// rest. `bytes` may be those that were kept before.
void Connection::handle(std::span<char> bytes) {
  if (!peer_done_) {
    if (const auto failure = reader_.feed(bytes, *this, kFramesAtOnce)) {
      peer_done_ = true;
      if (state_ == State::open) {
        start_closing(*failure, close_reason(*failure));
      } else {
        touch();
      }
    } else if (!reader_.is_unfinished()) {
      deadlines_.on_message_complete();
    } else {
      deadlines_.on_message_incomplete(loop_.now_ms());
    }
  }
  if (bytes.empty() && !unread_ && !pause_.is_set()) return;
  // What follows the peer's Close, or a violation, is discarded.
  unread_.keep(peer_done_ ? std::span<char>() : bytes);
  if (!is_paused()) resume_reading();
}

bool Connection::on_message(Opcode opcode, std::string_view payload) {
  deadlines_.on_message_complete();
  // After our Close, messages that precede the peer's are ignored (section 1.4).
  if (state_ == State::open && wanted_close_ == CloseCode::no_status) {
    session_->on_message(opcode, payload);
  }
  return !is_paused();
}

bool Connection::on_ping(std::string_view payload) {
  send(Opcode::pong, {payload});  // section 5.5.3
  return true;
}

bool Connection::on_pong(std::string_view) {
  return true;
}

void Connection::on_close(CloseCode code, std::string_view) {
  peer_done_ = true;
  note_end(EndReason::closed);  // whatever the peer's reason
  // The answer repeats the peer's code (section 5.5.1). If our Close came first, its flush may have
  // ended long ago, and only the end of the connection remains.
  if (state_ == State::open) {
    start_closing(code, {});
  } else {
    touch();
  }
}

void Connection::flush() noexcept {
  if (state_ == State::closed) return;
  transmit();
  if (broken_) return terminate();
  if (state_ == State::closing && peer_done_ && !blocked_) finish_sending();
}

void Connection::transmit() noexcept {
  while (!blocked_ && !broken_ && state_ != State::opening && state_ != State::closed) {
    const auto bytes = outbox_.unsent();
    if (bytes.empty() && !write_unfinished_) return;
    const auto result = write_stream(bytes);
    outbox_.consume(result.bytes);
    if (result.status != Stream::Status::ok) return wait_to_write(result.status);
    write_unfinished_ = false;
    if (result.bytes == bytes.size()) return;
  }
}

void Connection::wait_to_write(Stream::Status status) noexcept {
  if (status != Stream::Status::want_write && status != Stream::Status::want_read) {
    broken_ = true;
    return;
  }
  write_unfinished_ = true;
  write_wants_read_ = status == Stream::Status::want_read;
  set_blocked(true);
}

void Connection::finish_sending() noexcept {
  // The server ends its direction first and waits for the peer's end-of-file. Closing the socket
  // with unread bytes would reset the connection, and our Close could be lost with it.
  const auto result = stream_->shutdown();
  if (result.status != Stream::Status::ok) {
    wait_to_write(result.status);
    if (broken_) terminate();
    return;
  }
  state_ = State::lingering;
  deadlines_.close_by(loop_.now_ms() + kLingerMs);
  Timer::set_sooner(next_deadline());
}

void Connection::set_blocked(bool blocked) noexcept {
  if (blocked == blocked_) return;
  blocked_ = blocked;
  watch();
}

void Connection::watch() noexcept {
  const bool readable = blocked_ && write_wants_read_
                            ? true
                            : !pause_.is_set() && !read_wants_write_ && state_ != State::opening;
  const bool writable = (blocked_ && !write_wants_read_) || read_wants_write_;
  const std::uint32_t events = (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U);
  if (loop_.change(stream_->descriptor(), *this, events)) return;
  // It would never be read or written to again: it is terminated at the end of the round.
  broken_ = true;
  touch();
}

void Connection::terminate(EndReason reason) noexcept {
  if (state_ == State::closed) return;
  note_end(reason);
  state_ = State::closed;
  end_session();
  if (session_ != nullptr) session_->on_lost(acknowledged_offset());
  outbox_.discard();  // at once: others may be waiting for the memory
  loop_.remove(stream_->descriptor(), *this);
  Timer::set(TimerQueue::kNever);
  loop_.on_closed(*this);
}

void Connection::abort() noexcept {
  // Without this the kernel would keep what it holds, and go on trying, for minutes.
  if (acknowledged_offset() < outbox_.sent_offset()) {
    const linger at_once{1, 0};
    // Where it fails, the kernel goes on trying.
    (void)setsockopt(stream_->descriptor(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  terminate();
}

void Connection::fail() noexcept {
  peer_done_ = true;
  // A Close cannot stand where there was no 101.
  if (state_ > State::open || session_ == nullptr) return terminate(EndReason::failed);
  try {
    if (state_ == State::opening) {
      note_end(EndReason::failed);
      return refuse();
    }
    start_closing(CloseCode::internal_error, close_reason(CloseCode::internal_error));
  } catch (...) {
    terminate(EndReason::failed);
  }
}

void Connection::restart_heartbeat() noexcept {
  if (state_ != State::open) return;
  deadlines_.restart(loop_.now_ms(), loop_.ping_interval_ms());
  Timer::set_sooner(next_deadline());
}

void Connection::on_timer() noexcept {
  guard([this] { handle_due_deadline(); });
  if (state_ != State::closed) Timer::set_sooner(next_deadline());
}

void Connection::handle_due_deadline() {
  using Due = ConnectionDeadlines::Due;
  const auto now = loop_.now_ms();
  if (state_ == State::opening) {
    if (now >= next_deadline()) refuse();
    return;
  }
  if (state_ == State::open && pause_.is_set() && pause_.is_over(now)) resume_reading();
  switch (deadlines_.due(now, loop_.ping_interval_ms())) {
    case Due::nothing:
      return;
    case Due::close:
      return abort();
    case Due::dead:
      loop_.count_closed_dead();
      note_end(EndReason::dead);
      return abort();
    case Due::expired:
      return close(CloseCode::token_expired);
    case Due::stalled:
      return close(CloseCode::policy_violation);
    case Due::ping:
      deadlines_.on_ping_sent(now, loop_.ping_interval_ms());
      send(Opcode::ping, {});
      session_->on_heartbeat();
      return;
  }
}

std::int64_t Connection::next_deadline() const noexcept {
  const auto next = deadlines_.next(loop_.ping_interval_ms());
  return state_ == State::open && is_paused() ? std::min(next, pause_.end_ms()) : next;
}

}  // namespace waystation
