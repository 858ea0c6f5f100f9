#include "reactor/connection.hpp"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "reactor/reactor.hpp"
#include "websocket/frame_writer.hpp"

namespace waystation {
namespace {

// How long a peer may take to answer our Close, or to take in what was queued before it.
constexpr std::int64_t kCloseMs = 10'000;
// How long it may then take to end the TCP connection (section 7.1.1: the client should not have
// to).
constexpr std::int64_t kLingerMs = 2'000;
// The frames of one socket that are handled at once: the smallest cost most for their size, and all
// others wait for them. More than there are usual messages in one read.
constexpr std::size_t kFramesAtOnce = 128;
// The clock of a round counts milliseconds, so a pause may end this much late. Frames behind it
// make up for that and no more, however late a busy thread is.
constexpr std::int64_t kPauseSlackUs = 1'000;

/// Why a connection ends that is closed with a code of ours.
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

Connection::Connection(Reactor& reactor, std::uint64_t id, AdoptedSocket socket,
                       std::shared_ptr<void> place)
    : reactor_(reactor),
      id_(id),
      socket_(std::move(socket)),
      place_(std::move(place)),
      outbox_(reactor.pool()),
      reader_(reactor.frame_limits()),
      last_received_ms_(reactor.now_ms()),
      next_ping_ms_(reactor.now_ms() + reactor.ping_interval_ms()) {
  const int on = 1;
  // A unix socket has no such option, and without it only latency suffers.
  (void)setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Connection::~Connection() = default;

void Connection::open(std::unique_ptr<Session> session, std::string_view response) {
  outbox_.append_always({response});
  session_ = std::move(session);
  touch();
  session_->on_open();
  in_session_ = true;
}

void Connection::touch() noexcept {
  if (!is_touched) reactor_.add_touched(*this);
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
  if (queue() || (make_room(header.view().size() + size) && queue())) return true;
  too_slow_ = true;
  note_end(EndReason::slow);
  wanted_close_ = CloseCode::receiver_too_slow;
  return false;
}

bool Connection::make_room(std::size_t size) noexcept {
  // The events of this round may have filled the queue before the kernel was offered any of it.
  transmit();
  if (backlog() + size > reactor_.pool().limits().max_queue_bytes) return false;
  return reactor_.make_room(size, *this);
}

void Connection::yield_room() noexcept {
  const auto before = backlog();
  transmit();
  // A quarter at least: each time all connections are looked at for the largest queue, and a peer
  // that takes a few bytes now and then could have that done for every message of everybody else.
  const auto now = backlog();
  if (now < before && now <= before - before / 4) return;
  // Where its session is over, what holds the room is a peer that does not take its last words.
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
  if (state_ != State::open || wanted_close_ != CloseCode::no_status) return;
  wanted_close_ = code;
  note_end(reason_for(code));
  too_slow_ = code == CloseCode::receiver_too_slow;
  touch();
}

void Connection::pause_reading(std::int64_t us) noexcept {
  if (state_ != State::open) return;
  const auto now_us = reactor_.now_ms() * 1000;
  const bool was_watched = resumes_us_ == 0;
  resumes_us_ = (was_watched ? now_us : std::max(resumes_us_, now_us - kPauseSlackUs)) + us;
  if (is_paused()) reactor_.wake_at(resumes_ms(), *this);
  if (was_watched) watch();
}

bool Connection::is_paused() const noexcept {
  return resumes_us_ != 0 && resumes_us_ > reactor_.now_ms() * 1000;
}

/// Goes on with what was read before, or else with reading.
void Connection::resume_reading() {
  if (state_ == State::closed) return;
  if (unread_) return reactor_.add_unread(*this);
  if (std::exchange(resumes_us_, 0) != 0) watch();
}

std::int64_t Connection::resumes_ms() const noexcept {
  return (resumes_us_ + 999) / 1000;
}

void Connection::set_expiry(std::int64_t steady_ms) {
  expires_ms_ = steady_ms;
  // The heartbeat comes sooner, as a rule: a timer of its own would outlive the connection.
  if (state_ == State::open) reactor_.wake_at(next_deadline(), *this);
}

std::uint64_t Connection::acknowledged_offset() const noexcept {
  int unacknowledged = 0;
  // A socket that cannot be asked counts as one whose peer received everything.
  if (ioctl(socket_.get(), SIOCOUTQ, &unacknowledged) != 0) return outbox_.sent_offset();
  return outbox_.sent_offset() -
         std::min(outbox_.sent_offset(), static_cast<std::uint64_t>(unacknowledged));
}

void Connection::settle() {
  if (!is_unsettled()) return;
  const auto code = wanted_close_;
  if (too_slow_) {
    // The kernel gets what it can still take; after that, only what was begun is completed.
    transmit();
    if (broken_) return cut();
    drop_unbegun();
  }
  if (code == CloseCode::receiver_too_slow) reactor_.count_closed_slow();
  start_closing(code, close_reason(code));
}

void Connection::note_end(EndReason reason) noexcept {
  if (!end_reason_) end_reason_ = reason;
}

void Connection::start_closing(CloseCode code, std::string_view reason) {
  state_ = State::closing;
  close_code_ = code;
  note_end(reason_for(code));
  // The peer's Close is waited for, however long the pause was to be.
  resumes_us_ = std::min(resumes_us_, reactor_.now_ms() * 1000);
  resume_reading();
  end_session();
  // Others heard of it, and one of them may have needed the room that this one held.
  if (state_ == State::closed) return;
  const auto payload = close_payload(code, reason);
  outbox_.append_always({FrameHeader(Opcode::close, payload.size()).view(), payload});
  close_by_ms_ = reactor_.now_ms() + kCloseMs;
  reactor_.wake_at(close_by_ms_, *this);
  touch();
}

void Connection::end_session() noexcept {
  if (std::exchange(in_session_, false)) session_->on_end();
}

void Connection::on_readable(bool has_ended) {
  if (state_ == State::closed) return;
  if (resumes_us_ != 0) {
    // Epoll reports the end of one that it does not watch, too.
    if (has_ended) cut();
    return;
  }
  if (unread_) return;  // comes first, in its turn
  const auto buffer = reactor_.read_buffer(reader_.frame_rest());
  const auto received = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (received < 0) {
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) cut();
    return;
  }
  if (received == 0) return cut();
  last_received_ms_ = reactor_.now_ms();
  if (reading_) handle(buffer.first(static_cast<std::size_t>(received)));
}

void Connection::on_unread() {
  if (state_ != State::closed) handle(unread_.view());
}

/// Handles frames at the front of `bytes`, as far as a pause and all others allow, and keeps the
/// rest. `bytes` may be those that it kept before.
void Connection::handle(std::span<char> bytes) {
  if (reading_) {
    if (const auto failure = reader_.feed(bytes, *this, kFramesAtOnce)) {
      reading_ = false;
      peer_done_ = true;
      if (state_ == State::open) {
        start_closing(*failure, close_reason(*failure));
      } else {
        touch();
      }
    } else if (!reader_.is_unfinished()) {
      message_began_ms_ = 0;
    } else if (message_began_ms_ == 0) {
      message_began_ms_ = reactor_.now_ms();
    }
  }
  if (bytes.empty() && !unread_ && resumes_us_ == 0) return;
  // Nothing counts behind a Close of the peer's or a violation.
  unread_.keep(reading_ ? bytes : std::span<char>());
  if (!is_paused()) resume_reading();
}

bool Connection::on_message(Opcode opcode, std::string_view payload) {
  message_began_ms_ = 0;
  // Once our Close is said, section 1.4 lets us pass over what still comes before the peer's.
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
  reading_ = false;
  peer_done_ = true;
  note_end(EndReason::closed);  // whatever the peer's reason
  // Section 5.5.1: the answer repeats the peer's code. Where ours was said first, its flush may be
  // long done, and there is only the end of the connection left to see to.
  if (state_ == State::open) {
    start_closing(code, {});
  } else {
    touch();
  }
}

void Connection::on_writable() {
  if (state_ == State::closed) return;
  set_blocked(false);
  touch();
}

void Connection::flush() {
  if (state_ == State::closed) return;
  transmit();
  if (broken_) return cut();
  if (state_ == State::closing && peer_done_ && !blocked_) finish_sending();
}

void Connection::transmit() noexcept {
  while (!blocked_ && !broken_ && state_ != State::closed) {
    const auto bytes = outbox_.unsent();
    if (bytes.empty()) return;
    const auto sent =
        ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return set_blocked(true);
      broken_ = true;
      return;
    }
    outbox_.consume(static_cast<std::size_t>(sent));
    // A short send means that the kernel is full; it will say when it is not.
    if (static_cast<std::size_t>(sent) < bytes.size()) set_blocked(true);
  }
}

void Connection::finish_sending() {
  // Our side ends first, and the peer's end-of-file is waited for: to close with its bytes unread
  // would reset the connection, and our Close could be lost with it.
  state_ = State::lingering;
  (void)shutdown(socket_.get(), SHUT_WR);  // fails where the peer has gone, which epoll reports
  close_by_ms_ = reactor_.now_ms() + kLingerMs;
  reactor_.wake_at(close_by_ms_, *this);
}

void Connection::set_blocked(bool blocked) noexcept {
  if (blocked == blocked_) return;
  blocked_ = blocked;
  watch();
}

void Connection::watch() noexcept {
  if (reactor_.watch(*this, resumes_us_ == 0, blocked_)) return;
  // It would never be read or written to again: it is cut at the end of the round.
  broken_ = true;
  touch();
}

void Connection::cut(EndReason reason) noexcept {
  if (state_ == State::closed) return;
  note_end(reason);
  state_ = State::closed;
  end_session();
  if (session_ != nullptr) session_->on_lost(acknowledged_offset());
  outbox_.discard();  // at once: others may be waiting for the room
  reactor_.forget(*this);
  socket_.reset();
  place_.reset();
}

void Connection::abort() noexcept {
  // What the kernel still holds is given up for lost; without this it would go on trying, and keep
  // the memory, for minutes.
  if (acknowledged_offset() < outbox_.sent_offset()) {
    const linger at_once{1, 0};
    // Where it fails, the kernel goes on trying.
    (void)setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  cut();
}

void Connection::fail() noexcept {
  reading_ = false;
  peer_done_ = true;
  // Without a session there was no 101 either, behind which a Close could stand.
  if (state_ != State::open || session_ == nullptr) return cut(EndReason::failed);
  try {
    start_closing(CloseCode::internal_error, close_reason(CloseCode::internal_error));
  } catch (...) {
    cut(EndReason::failed);
  }
}

void Connection::restart_heartbeat() {
  if (state_ != State::open) return;
  last_received_ms_ = reactor_.now_ms();
  next_ping_ms_ = last_received_ms_ + reactor_.ping_interval_ms();
  if (message_began_ms_ != 0) message_began_ms_ = last_received_ms_;
  reactor_.wake_at(next_deadline(), *this);
}

std::int64_t Connection::on_timer() {
  const auto now = reactor_.now_ms();
  if (state_ == State::closing || state_ == State::lingering) {
    if (now >= close_by_ms_) abort();
    return next_deadline();
  }
  if (state_ == State::closed) return next_deadline();
  if (resumes_us_ != 0 && !is_paused()) resume_reading();
  const auto patience = 2 * reactor_.ping_interval_ms();
  if (now - last_received_ms_ >= patience) {
    reactor_.count_closed_dead();
    note_end(EndReason::dead);
    abort();
  } else if (expires_ms_ != 0 && now >= expires_ms_) {
    close(CloseCode::token_expired);
  } else if (message_began_ms_ != 0 && now - message_began_ms_ >= patience) {
    close(CloseCode::policy_violation);
  } else if (now >= next_ping_ms_) {
    next_ping_ms_ = now + reactor_.ping_interval_ms();
    send(Opcode::ping, {});
    session_->on_heartbeat();
  }
  return next_deadline();
}

std::int64_t Connection::next_deadline() const noexcept {
  if (state_ != State::open) return close_by_ms_;
  const auto patience = 2 * reactor_.ping_interval_ms();
  auto next = std::min(next_ping_ms_, last_received_ms_ + patience);
  if (expires_ms_ != 0) next = std::min(next, expires_ms_);
  if (is_paused()) next = std::min(next, resumes_ms());
  if (message_began_ms_ != 0) next = std::min(next, message_began_ms_ + patience);
  return next;
}

}  // namespace waystation
