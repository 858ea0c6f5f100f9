// When one connection needs attention although nothing arrives.
#pragma once

#include <cstdint>
#include <limits>

namespace waystation {

/// A pause in reading, in microseconds: pauses may be much shorter than a round's clock tells
/// apart, and many of them add up.
class ReadPause {
 public:
  /// Pauses for `us` more than so far.
  void extend(std::int64_t us, std::int64_t now_ms) noexcept;
  /// Ends it at `now_ms` at the latest; clear() is still due.
  void shorten(std::int64_t now_ms) noexcept;
  void clear() noexcept { ends_us_ = 0; }

  /// Whether it was extended and not cleared since: what epoll watches depends on it.
  bool is_set() const noexcept { return ends_us_ != 0; }
  bool is_over(std::int64_t now_ms) const noexcept { return ends_us_ <= now_ms * 1000; }
  /// The first millisecond at which it is over.
  std::int64_t end_ms() const noexcept { return (ends_us_ + 999) / 1000; }

 private:
  std::int64_t ends_us_ = 0;  // 0: not set
};

/// The deadlines of one connection, in milliseconds of the steady clock. `ping_interval_ms` is the
/// interval now in force; it may change between calls.
class ConnectionDeadlines {
 public:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  enum class Due : std::uint8_t {
    nothing,
    dead,     // the peer has sent nothing for two intervals
    expired,  // see set_expiry
    stalled,  // a message is incomplete for two intervals
    ping,     // see on_ping_sent
    close,    // see close_by
  };

  ConnectionDeadlines(std::int64_t now_ms, std::int64_t ping_interval_ms) noexcept
      : last_received_ms_(now_ms), next_ping_or_close_ms_(now_ms + ping_interval_ms) {}

  /// Bytes arrived.
  void on_received(std::int64_t now_ms) noexcept { last_received_ms_ = now_ms; }
  /// Whether a message has begun to arrive and is not complete.
  void on_message_incomplete(std::int64_t now_ms) noexcept {
    if (message_began_ms_ == 0) message_began_ms_ = now_ms;
  }
  void on_message_complete() noexcept { message_began_ms_ = 0; }
  void on_ping_sent(std::int64_t now_ms, std::int64_t ping_interval_ms) noexcept {
    next_ping_or_close_ms_ = now_ms + ping_interval_ms;
  }
  /// Ends the session at `steady_ms`, which is not negative; 0: never.
  void set_expiry(std::int64_t steady_ms) noexcept {
    if (!is_closing()) expires_ms_ = steady_ms;
  }
  /// The peer is not heard or asked before restart(): `steady_ms` takes the place of the ping.
  void accept_by(std::int64_t steady_ms) noexcept { next_ping_or_close_ms_ = steady_ms; }
  /// All intervals begin anew.
  void restart(std::int64_t now_ms, std::int64_t ping_interval_ms) noexcept;
  /// From now on the only deadline: the peer has until then to end the connection. May be repeated.
  void close_by(std::int64_t steady_ms) noexcept {
    expires_ms_ = kClosing;
    next_ping_or_close_ms_ = steady_ms;
  }

  /// The first in the order of Due that has come. A ping is due again and again until on_ping_sent.
  Due due(std::int64_t now_ms, std::int64_t ping_interval_ms) const noexcept;
  /// The soonest.
  std::int64_t next(std::int64_t ping_interval_ms) const noexcept;

 private:
  // In place of a bool, which would cost eight bytes.
  static constexpr std::int64_t kClosing = -1;
  bool is_closing() const noexcept { return expires_ms_ == kClosing; }

  std::int64_t last_received_ms_;
  std::int64_t message_began_ms_ = 0;   // 0: there is none
  std::int64_t next_ping_or_close_ms_;  // there are no pings after close_by()
  std::int64_t expires_ms_ = 0;         // 0: never; kClosing after close_by()
};

}  // namespace waystation
