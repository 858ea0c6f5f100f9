// One WebSocket connection that the reactor owns.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "reactor/adopted_socket.hpp"
#include "reactor/session.hpp"
#include "reactor/timer_queue.hpp"
#include "relay/observer.hpp"
#include "relay/outbox.hpp"
#include "websocket/close_code.hpp"
#include "websocket/frame_reader.hpp"

namespace waystation {

class Reactor;

/// Bytes that were read of a socket and not handled yet. No memory while there are none.
class UnreadBytes {
 public:
  explicit operator bool() const noexcept { return bytes_ != nullptr; }
  std::span<char> view() const noexcept { return {bytes_.get() + begin_, bytes_.get() + end_}; }
  /// Keeps `rest`: either all that is left of view(), or, where there are none, a copy. At most
  /// 65,535 bytes. Throws std::bad_alloc, and nothing is kept.
  void keep(std::span<const char> rest);

 private:
  std::unique_ptr<char[]> bytes_;
  std::uint16_t begin_ = 0;
  std::uint16_t end_ = 0;
};

/// The framing, heartbeat and closing of one socket (RFC 6455, sections 5 to 7). Created and
/// destroyed by the reactor; all on its thread.
class Connection final : private FrameHandler {
 public:
  /// `place` is kept until the socket is closed.
  Connection(Reactor& reactor, std::uint64_t id, AdoptedSocket socket, std::shared_ptr<void> place);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // ---- for the session

  std::uint64_t id() const noexcept { return id_; }

  /// Queues a message made of `parts`. False where the queue did not take it: the connection then
  /// ends with receiver_too_slow, not before the current event is dealt with. Throws
  /// std::bad_alloc, and nothing was queued.
  bool send(Opcode opcode, std::initializer_list<std::string_view> parts);

  /// Starts the closing handshake once; what is queued is sent before it. The session's on_end is
  /// not called before the current event is dealt with.
  void close(CloseCode code) noexcept;

  /// Ends the connection with token_expired at `steady_ms`; 0: never.
  void set_expiry(std::int64_t steady_ms);

  /// Handles no further frame and reads nothing for `us` microseconds more than it was to already.
  /// Frames that were read before wait in memory, at most as many bytes as one read takes. The rest
  /// waits in the peer's kernel, its end included: a client that sends a flood and ends could come
  /// back for another at once. A reset ends the connection at once, whatever was sent before it.
  /// `us` must be short compared with the ping interval, within which a peer must be heard.
  void pause_reading(std::int64_t us) noexcept;

  /// Where the last message queued ends, in bytes since the start of the connection.
  std::uint64_t queued_offset() const noexcept { return outbox_.queued_offset(); }

  /// Why it ended, or is about to; from when the session's on_lost is called on.
  EndReason end_reason() const noexcept { return end_reason_.value_or(EndReason::closed); }

  /// The code that it is or was closed with; no_status where it ended without a Close.
  CloseCode close_code() const noexcept { return close_code_; }

  /// What it was given to keep until it is closed.
  const void* place() const noexcept { return place_.get(); }

  /// Up to where the peer's kernel has acknowledged what was sent.
  std::uint64_t acknowledged_offset() const noexcept;

  // ---- for the reactor

  // What throws leaves the connection to be ended by fail().

  int descriptor() const noexcept { return socket_.get(); }

  /// Queues the 101 and opens the session.
  void open(std::unique_ptr<Session> session, std::string_view response);

  /// `has_ended`: in both directions, or by a reset.
  void on_readable(bool has_ended);
  /// Handles more of what was read before. The reactor calls it once after add_unread.
  void on_unread();
  void on_writable();
  /// Does what is due and returns the next deadline.
  std::int64_t on_timer();
  /// Does what send() and close() asked for.
  void settle();
  /// Sends what is queued.
  void flush();
  /// Ends it without a word. `reason` counts where there was none before.
  void cut(EndReason reason = EndReason::closed) noexcept;
  /// Something threw while it was dealt with: closes it with internal_error, or cuts it where
  /// there is not even memory for that.
  void fail() noexcept;
  /// Begins the wait for a word from the peer anew, at the interval now in force.
  void restart_heartbeat();

  /// Gives back what it can of the budget that all queues share: what the kernel takes, and else
  /// its place, as a receiver that is too slow. Never ends the session. For one that is not spent.
  void yield_room() noexcept;

  bool is_closed() const noexcept { return state_ == State::closed; }
  /// Whether settle() has something to do.
  bool is_unsettled() const noexcept {
    return state_ == State::open && wanted_close_ != CloseCode::no_status;
  }
  /// It gave up all that it can without ending its session, which comes later in this round.
  bool is_spent() const noexcept { return is_closed() || (state_ == State::open && too_slow_); }
  std::size_t backlog() const noexcept { return outbox_.unsent().size(); }

  // The reactor's own notes.
  Connection* next_touched = nullptr;
  Connection* next_closed = nullptr;
  std::int64_t wakes_at_ms = TimerQueue::kNever;
  bool is_touched = false;       // stands in its list of those to settle and flush
  bool has_unread_turn = false;  // stands in its list of those with unread bytes

 private:
  enum class State : std::uint8_t {
    open,
    closing,    // our Close is queued or sent
    lingering,  // both said Close, or the peer broke the protocol: waits for its end-of-file
    closed,
  };

  bool on_message(Opcode opcode, std::string_view payload) override;
  bool on_ping(std::string_view payload) override;
  bool on_pong(std::string_view payload) override;
  void on_close(CloseCode code, std::string_view reason) override;

  void handle(std::span<char> bytes);
  void start_closing(CloseCode code, std::string_view reason);
  void end_session() noexcept;
  void note_end(EndReason reason) noexcept;
  void touch() noexcept;
  void set_blocked(bool blocked) noexcept;
  bool is_paused() const noexcept;
  void resume_reading();
  std::int64_t resumes_ms() const noexcept;
  void watch() noexcept;
  void transmit() noexcept;
  bool make_room(std::size_t size) noexcept;
  void drop_unbegun() noexcept;
  void abort() noexcept;
  void finish_sending();
  std::int64_t next_deadline() const noexcept;

  // The small ones together, behind the reactor's: there may be many thousand connections.
  CloseCode wanted_close_ = CloseCode::no_status;  // no_status: none
  CloseCode close_code_ = CloseCode::no_status;    // no_status: none was sent
  std::optional<EndReason> end_reason_;            // the first that there was
  State state_ = State::open;
  bool in_session_ = false;  // between the session's on_open and on_end
  bool reading_ = true;      // false: what arrives is thrown away
  bool peer_done_ = false;   // its Close arrived, or nothing it says counts any more
  bool blocked_ = false;     // the kernel is full; epoll says when it is not
  bool broken_ = false;      // sending failed; to be cut
  bool too_slow_ = false;    // its queue was full, and counted
  Reactor& reactor_;
  std::uint64_t id_;
  AdoptedSocket socket_;
  std::shared_ptr<void> place_;
  std::unique_ptr<Session> session_;
  Outbox outbox_;
  FrameReader reader_;
  UnreadBytes unread_;  // its frames come behind those that reader_ handled
  std::int64_t last_received_ms_;
  std::int64_t next_ping_ms_;
  std::int64_t message_began_ms_ = 0;  // of one that is not complete; 0: there is none
  std::int64_t expires_ms_ = 0;        // 0: never
  std::int64_t resumes_us_ = 0;        // handling frames does; 0: epoll watches
  std::int64_t close_by_ms_ = 0;       // while closing or lingering
};

}  // namespace waystation
