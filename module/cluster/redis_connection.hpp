// One connection to a Redis, Valkey or Sentinel server, on the reactor's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>

#include "base/file_descriptor.hpp"
#include "cluster/engine_locator.hpp"
#include "cluster/resp.hpp"
#include "reactor/event_source.hpp"
#include "reactor/loop.hpp"
#include "reactor/timer_queue.hpp"

namespace waystation {

/// How a connection logs in, and its deadlines.
struct RedisConnectionOptions {
  /// What it is used for. A connection that subscribes cannot send other commands (RESP2).
  enum class Kind : std::uint8_t { commands, subscriptions };
  /// What the server must say it is; anything else counts as a failed attempt.
  enum class Role : std::uint8_t { primary, sentinel };

  Kind kind = Kind::commands;
  Role role = Role::primary;
  std::string user;      // empty: the default user
  std::string password;  // empty: no AUTH
  std::uint32_t database = 0;
  std::string client_name;  // for CLIENT LIST; no blanks

  static constexpr std::int64_t kConnectTimeoutMs = 2000;
  static constexpr std::int64_t kMaxBackoffMs = 500;

  std::int64_t connect_timeout_ms = kConnectTimeoutMs;  // to find the server, connect and log in
  std::int64_t heartbeat_ms = 1000;                     // between two heartbeats
  std::int64_t reply_timeout_ms = 2000;  // without any byte while a reply is due: it is lost
  std::int64_t min_backoff_ms = 50;      // before the second attempt; doubles, with jitter
  std::int64_t max_backoff_ms = kMaxBackoffMs;
  std::size_t max_out_bytes = 8U << 20U;  // that wait to be sent
};

/// Connects, logs in, and connects again whenever the connection is lost, until it is destroyed.
///
/// On login it sends AUTH, SELECT, CLIENT SETNAME, CLIENT ID, INFO server and ROLE, and refuses a
/// server that is no primary. Afterwards a heartbeat measures the round trip: TIME on a connection
/// for commands, PING on one for subscriptions.
///
/// The commands of a round of the loop are sent together at its end. All functions are for the
/// loop's thread. No callback may destroy the connection; they may call every other function.
class RedisConnection final : public EventSource, private EngineLocator::Client {
 public:
  using Options = RedisConnectionOptions;

  /// Gets the reply to one command; null where the connection was lost before: the server may have
  /// run the command, or not. Called exactly once. Must not throw. Views are valid during the call.
  using ReplyHandler = std::function<void(const Reply* reply)>;

  /// What a subscription brings.
  struct Push {
    enum class Type : std::uint8_t { message, subscribed, unsubscribed };
    Type type;
    std::string_view channel;
    std::string_view payload;  // Type::message
  };

  class Listener {
   public:
    /// Connected and logged in; commands may be sent.
    virtual void on_ready() noexcept = 0;
    /// A connection that was ready is closed, or an attempt failed (`was_ready` false). `reason` is
    /// a clause for a log line and holds no secret. The handlers of outstanding commands have been
    /// called with null. The next attempt follows by itself.
    virtual void on_lost(std::string_view reason, bool was_ready) noexcept = 0;
    /// In the order in which the server sent them.
    virtual void on_push(const Push&) noexcept {}
    /// The buffer of commands is empty again after send(), subscribe() or unsubscribe() refused.
    virtual void on_drained() noexcept {}
    /// The server answered a command with an error that it should never have: see OnError.
    virtual void on_error(std::string_view /*error*/) noexcept {}
    /// A heartbeat was answered after this many microseconds.
    virtual void on_round_trip(std::int64_t) noexcept {}

   protected:
    ~Listener() = default;
  };

  /// All must outlive the connection. Does nothing until start(). Throws std::bad_alloc.
  RedisConnection(Loop& loop, EngineLocator& locator, Options options, Listener& listener);
  /// Closes. Outstanding handlers are called with null, the listener is not.
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  /// Makes the first attempt. Once.
  void start() noexcept;

  /// Loses the connection with this reason, or ends the attempt. The next attempt follows after a
  /// pause, which grows if this happens soon again. During that pause: makes the attempt at once.
  void reconnect(std::string_view reason) noexcept;

  bool is_ready() const noexcept { return state_ == State::ready; }

  // ---- Kind::commands

  /// Whether the listener gets an error reply too, unless the connection is lost with it.
  enum class OnError : std::uint8_t { ignore, report };

  /// Sends a command. False where the connection is not ready or the buffer has no room: nothing
  /// is sent and the handler is not called. An empty handler is allowed. Throws std::bad_alloc, and
  /// nothing is sent.
  ///
  /// An error reply that says that the server is not the one that was logged in to loses the
  /// connection, after the handler: NOSCRIPT, READONLY, LOADING, MASTERDOWN, NOAUTH; or that
  /// it has too few replicas to be the primary for sure: NOREPLICAS.
  bool send(std::span<const std::string_view> arguments, ReplyHandler handler,
            OnError on_error = OnError::ignore);
  bool send(std::initializer_list<std::string_view> arguments, ReplyHandler handler) {
    return send(std::span(arguments.begin(), arguments.size()), std::move(handler));
  }

  // ---- Kind::subscriptions

  /// Subscribes to channels, or unsubscribes, with one command; `channels` is not empty. Each one
  /// is confirmed by a Push. False and exceptions as send(). An error reply loses the connection.
  bool subscribe(std::span<const std::string_view> channels);
  bool unsubscribe(std::span<const std::string_view> channels);
  /// Unsubscribes from everything, and loses the connection with this reason once that is
  /// confirmed: what the server published before arrives first. Until then, channels cannot be
  /// changed. Where this cannot be sent: reconnect().
  void unsubscribe_and_reconnect(std::string_view reason) noexcept;

  // ---- about the server, while the connection is ready

  /// Run id of the server: another one after each restart.
  const std::string& run_id() const noexcept { return run_id_; }
  /// The number of this connection at the server (CLIENT ID), as text.
  const std::string& client_id() const noexcept { return client_id_; }
  /// "7.0.15", as INFO says it.
  const std::string& version() const noexcept { return version_; }
  /// Where it is connected to, for a log line.
  const std::string& server_name() const noexcept { return server_name_; }

  /// The server's clock in ms since 1970, or a little earlier: by at most one round trip and the
  /// drift since the last heartbeat. Never later, unless a clock jumped. Nothing until the first
  /// heartbeat was answered, which is at most one round trip after on_ready(). Kind::commands.
  std::optional<std::int64_t> server_time_ms() const noexcept;

  /// For how long the oldest command or heartbeat that has no reply has waited; 0 where none waits.
  std::int64_t waiting_ms() const noexcept;

  /// Of the last heartbeat, in microseconds; 0: none yet.
  std::int64_t round_trip_us() const noexcept { return round_trip_us_; }

  /// Bytes that wait to be sent.
  std::size_t out_bytes() const noexcept { return out_.size() - sent_; }

 private:
  enum class State : std::uint8_t { idle, waiting, locating, connecting, logging_in, ready };

  enum class LoginStep : std::uint8_t { password, other, client_id, server_info, role };

  /// A deadline that calls a function of its owner.
  class Tick final : public Timer {
   public:
    using Action = void (RedisConnection::*)() noexcept;
    Tick(RedisConnection& owner, Action action)
        : Timer(owner.loop_.timers()), owner_(owner), action_(action) {}

   private:
    void on_timer() noexcept override { (owner_.*action_)(); }
    RedisConnection& owner_;
    Action action_;
  };

  struct Outstanding {
    ReplyHandler handler;
    std::int64_t sent_ms;
    OnError on_error;
  };

  void on_events(std::uint32_t events) noexcept override;
  void on_located(const Result<EngineLocator::Location, std::string>& location) noexcept override;
  void on_moved(std::string_view name) noexcept override;

  void attempt() noexcept;
  void open(const EngineLocator::Location& location);
  void on_connected();
  void log_in();
  void on_login_reply(const Reply& reply, LoginStep step);
  void become_ready() noexcept;
  void lose(std::string_view reason) noexcept;
  void drop_outstanding() noexcept;
  void close_socket() noexcept;
  bool watch_for(std::uint32_t events) noexcept;

  bool queue(std::span<const std::string_view> arguments, ReplyHandler* handler,
             std::size_t max_out_bytes, OnError on_error = OnError::ignore);
  bool change_subscriptions(std::string_view command, std::span<const std::string_view> channels);
  void flush() noexcept;
  void on_sent() noexcept;
  void receive();
  void dispatch(const Reply& reply);
  bool dispatch_push(const Reply& reply) noexcept;
  void on_deadline() noexcept;
  void on_heartbeat_due() noexcept;
  void on_heartbeat(const Reply& reply, std::int64_t sent_us) noexcept;

  Loop& loop_;
  EngineLocator& locator_;
  const Options options_;
  Listener& listener_;

  State state_ = State::idle;
  FileDescriptor socket_;
  std::uint32_t watched_ = 0;  // the events that the loop watches
  std::optional<ReplyReader> reader_;
  std::string out_;
  std::size_t sent_ = 0;           // of out_
  bool has_refused_ = false;       // a command, since the buffer was empty
  bool is_heartbeat_due_ = false;  // a heartbeat has no answer yet
  std::string unsubscribing_;      // from everything, for this reason
  std::deque<Outstanding> outstanding_;
  std::int64_t received_ms_ = 0;
  std::int64_t ready_ms_ = 0;  // since when it is ready
  std::int64_t backoff_ms_ = 0;
  std::minstd_rand random_;

  std::string run_id_, client_id_, version_, server_name_;
  std::int64_t round_trip_us_ = 0;
  std::optional<std::int64_t> clock_offset_ms_;  // server_time_ms() minus the loop's steady clock

  Tick flush_;      // the end of this round
  Tick deadline_;   // of the attempt, the back-off, or the reply that is due
  Tick heartbeat_;  // the next heartbeat
};

}  // namespace waystation
