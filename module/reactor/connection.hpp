// One WebSocket connection that the reactor owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/intrusive_queue.hpp"
#include "reactor/connection_deadlines.hpp"
#include "reactor/event_source.hpp"
#include "reactor/loop.hpp"
#include "reactor/session.hpp"
#include "reactor/stream.hpp"
#include "reactor/timer_queue.hpp"
#include "relay/observer.hpp"
#include "relay/outbox.hpp"
#include "websocket/close_code.hpp"
#include "websocket/frame_reader.hpp"

namespace waystation {

/// The unit of the processor's caches, in bytes.
inline constexpr std::size_t kCacheLine = 64;

/// Bytes that were read from a stream and not handled yet. No memory while there are none.
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

/// The framing, heartbeat and closing of one WebSocket connection (RFC 6455, sections 5 to 7),
/// above a stream. Created and destroyed by the reactor; all on its thread.
class alignas(kCacheLine) Connection final : public EventSource,
                                             private FrameHandler,
                                             private Timer {
 public:
  /// `permit` is kept until the stream is closed. Throws std::bad_alloc.
  Connection(Loop& loop, std::uint64_t id, std::unique_ptr<Stream> stream,
             std::shared_ptr<void> permit);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // ---- for the session

  std::uint64_t id() const noexcept { return id_; }

  /// Sends the 101 and begins to read. Once, inside Session::on_open or later. If it is not called
  /// within two seconds, or close() is, the connection sends Session::on_refused() in place of the
  /// 101 and ends.
  void accept() noexcept;

  /// Queues a message made of `parts`. False where the queue did not take it: the connection then
  /// ends with receiver_too_slow, after the current event. Throws std::bad_alloc, and nothing was
  /// queued.
  bool send(Opcode opcode, std::initializer_list<std::string_view> parts);

  /// Starts the closing handshake, once; what is queued is sent before it. The session's on_end is
  /// called after the current event.
  void close(CloseCode code) noexcept;

  /// Ends the connection with token_expired at `steady_ms`; 0: never.
  void set_expiry(std::int64_t steady_ms) noexcept;

  /// Handles no further frame and reads nothing for `us` microseconds more than so far. Frames that
  /// were read before wait in memory, at most as many bytes as one read takes. Later bytes wait in
  /// the peer's kernel, and so does the peer's end: a client that sends a flood and ends could come
  /// back for another at once. A reset ends the connection at once, whatever was sent before it.
  /// `us` must be short compared with the ping interval, within which the peer must be heard.
  void pause_reading(std::int64_t us) noexcept;

  /// Where the last message queued ends, in bytes since the start of the connection.
  std::uint64_t queued_offset() const noexcept { return outbox_.queued_offset(); }

  /// Why the connection ended, or is about to. Known when the session's on_lost is called.
  EndReason end_reason() const noexcept { return end_reason_.value_or(EndReason::closed); }

  /// The code of the Close that the relay sent; no_status if it sent none.
  CloseCode close_code() const noexcept { return close_code_; }

  /// The object that the constructor was given to keep until the stream is closed.
  const void* permit() const noexcept { return permit_.get(); }

  /// The peer's kernel has acknowledged the bytes up to here, and perhaps more.
  std::uint64_t acknowledged_offset() const noexcept;

  // ---- for the reactor

  int descriptor() const noexcept { return stream_->descriptor(); }

  /// Queues `response`, the 101, and opens the session that `make_session(*this)` returns. Neither
  /// sends nor reads before the session calls accept(). `early` are bytes of the peer that were
  /// read before, at most 65,535; they are handled in the round after that. Ends the connection
  /// where that throws.
  template <typename F>
  void open(F&& make_session, std::string_view response, std::string_view early) noexcept {
    if (!start_watching()) return terminate();
    guard([&] {
      open_session(make_session(*this), response);
      if (!early.empty()) unread_.keep(early);
      if (state_ == State::opening) wait_for_accept();
    });
    read_on();
  }

  void on_events(std::uint32_t events) noexcept override;
  /// Handles bytes that were read before, or reads bytes that the stream holds. The reactor calls
  /// it once after Loop::revisit.
  void on_revisit() noexcept;
  /// Handles what Loop::defer_end put off.
  void on_deferred_end() noexcept;
  /// Starts the closing that send() or close() asked for.
  void on_close_request() noexcept;
  /// Sends what is queued.
  void flush() noexcept;
  /// Ends the connection without a closing handshake. `reason` counts where there was none before.
  void terminate(EndReason reason = EndReason::closed) noexcept;
  /// Waits a whole ping interval, the one now in force, for the next bytes of the peer.
  void restart_heartbeat() noexcept;

  /// Frees memory of the budget that all queues share. Sends what the kernel takes. If that is
  /// little, drops all messages that were not begun, and the connection ends as a receiver that is
  /// too slow. Does not end the session. Not for one that is_spent().
  void shed_backlog() noexcept;

  bool is_closed() const noexcept { return state_ == State::closed; }
  /// Whether on_close_request() has something to do.
  bool has_close_request() const noexcept {
    return state_ <= State::open && wanted_close_ != CloseCode::no_status;
  }
  /// It cannot free anything now without ending its session: it freed all and ends later in this
  /// round, or has not been accepted.
  bool is_spent() const noexcept {
    return is_closed() || state_ == State::opening || (state_ == State::open && too_slow_);
  }
  std::size_t backlog() const noexcept { return outbox_.unsent().size(); }

 private:
  enum class State : std::uint8_t {
    opening,  // the 101 is queued, and waits for accept()
    open,
    closing,    // our Close is queued or sent
    lingering,  // both sent a Close, or the peer broke the protocol: waits for its end-of-file
    closed,
  };

  bool on_message(Opcode opcode, std::string_view payload) override;
  bool on_ping(std::string_view payload) override;
  bool on_pong(std::string_view payload) override;
  void on_close(CloseCode code, std::string_view reason) override;
  void on_timer() noexcept override;

  /// Runs `step`; what it throws ends this connection and no other.
  template <typename F>
  void guard(F&& step) noexcept {
    try {
      step();
    } catch (...) {
      fail();
    }
  }

  Stream::Result read_stream(std::span<char> buffer) noexcept;
  Stream::Result write_stream(std::span<const char> bytes) noexcept;
  bool start_watching() noexcept;
  void open_session(std::unique_ptr<Session> session, std::string_view response);
  void wait_for_accept();
  void read_on() noexcept;
  void refuse();
  void handle_events(std::uint32_t events) noexcept;
  void on_readable();
  void on_writable() noexcept;
  void handle_due_deadline();
  void read();
  void handle(std::span<char> bytes);
  void start_closing(CloseCode code, std::string_view reason);
  void fail() noexcept;
  void end_session() noexcept;
  void note_end(EndReason reason) noexcept;
  void touch() noexcept;
  void set_blocked(bool blocked) noexcept;
  void wait_to_write(Stream::Status status) noexcept;
  bool is_paused() const noexcept { return !pause_.is_over(loop_.now_ms()); }
  void resume_reading() noexcept;
  void watch() noexcept;
  void transmit() noexcept;
  bool reclaim(std::size_t size) noexcept;
  void drop_unbegun() noexcept;
  void abort() noexcept;
  void finish_sending() noexcept;
  std::int64_t next_deadline() const noexcept;

  // With thousands of connections, none is in a near cache when its next message comes. So what a
  // message uses is in few cache lines: two for its way out, and one more for its way in.
  CloseCode wanted_close_ = CloseCode::no_status;  // no_status: none
  std::optional<EndReason> end_reason_;            // the first that there was
  State state_ = State::opening;
  bool in_session_ : 1 = false;  // between the session's on_open and on_end
  bool peer_done_ : 1 = false;  // its Close arrived or it broke the protocol: the rest is discarded
  bool broken_ : 1 = false;     // sending failed; to be terminated
  bool too_slow_ : 1 = false;   // its queue was full, and counted
  bool blocked_ : 1 = false;    // writing waits for the descriptor
  bool write_wants_read_ : 1 = false;  // while blocked: to be readable, not writable
  bool write_unfinished_ : 1 = false;  // the stream may hold bytes that it took
  bool read_wants_write_ : 1 = false;  // reading waits for the descriptor to be writable
  bool read_again_ : 1 = false;        // the stream has bytes that epoll does not tell of
  bool is_hung_up_ : 1 = false;        // epoll has reported EPOLLERR or EPOLLHUP
  const int plain_descriptor_;         // of stream_, which is then not needed to read and write
  Loop& loop_;

 public:
  QueueLink<Connection> touched_link;  // a place in the reactor's queue

 private:
  std::unique_ptr<Stream> stream_;
  Outbox outbox_;
  std::unique_ptr<Session> session_;
  UnreadBytes unread_;  // their frames follow those that reader_ handled
  ReadPause pause_;     // set: epoll does not watch for bytes
  FrameReader reader_;
  ConnectionDeadlines deadlines_;
  std::uint64_t id_;
  std::shared_ptr<void> permit_;
  CloseCode close_code_ = CloseCode::no_status;  // no_status: none was sent

 public:
  // Places in the reactor's queues.
  QueueLink<Connection> revisit_link;
  QueueLink<Connection> end_link;  // that of deferred ends, or that of ended connections
};

}  // namespace waystation
