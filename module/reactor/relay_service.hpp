// The relay for other threads: the router, the backplane and the reactor behind calls that any
// thread may make.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "reactor/reactor.hpp"
#include "reactor/relay_session.hpp"
#include "reactor/timer_queue.hpp"
#include "relay/backplane.hpp"
#include "relay/directory.hpp"
#include "relay/fanout.hpp"
#include "relay/missed.hpp"
#include "relay/observer.hpp"
#include "relay/reachability.hpp"
#include "relay/router.hpp"
#include "relay/user_listing.hpp"

namespace waystation {

struct RelayOptions {
  ReactorOptions reactor;
  RateLimit rate;
  bool show_reachable = true;
};

/// Statistics that any thread may read. Written by the reactor's thread only.
struct RelayStats {
  std::atomic<std::uint64_t> chat_sockets = 0;  // open now
  std::atomic<std::uint64_t> push_sockets = 0;  // open now
  std::atomic<std::uint64_t> groups = 0;        // with a socket in them, now
  std::atomic<std::uint64_t> accepted = 0;
  std::atomic<std::uint64_t> messages_chat = 0;
  std::atomic<std::uint64_t> messages_pushed = 0;
  std::atomic<std::uint64_t> messages_undelivered = 0;
  std::atomic<std::uint64_t> notifications = 0;
  std::atomic<std::uint64_t> deliveries_dropped = 0;
  std::atomic<std::uint64_t> errors_sent = 0;
  // The last two by reason and by code.
  std::array<std::atomic<std::uint64_t>, kEndReasons> dropped_by_reason{};
  std::array<std::atomic<std::uint64_t>, kErrorCodes> errors_by_code{};
  std::array<std::atomic<std::uint64_t>, kEndReasons> closed_by_reason{};  // sockets
};

/// The result of checking a token that a client sent to extend its session.
struct RefreshAnswer {
  std::int64_t expires_at = 0;  // ms since 1970; unspecified if problem is not empty
  std::string problem;          // why it was refused; empty: accepted
  std::string log_detail = {};  // more of the reason, for the log only
};

/// Checks such tokens on another thread, because a signature takes long to check.
class TokenRefresher {
 public:
  using Answer = std::function<void(RefreshAnswer)>;

  /// The reactor's thread; must not wait. `answer` may be called on any thread, once, or never.
  virtual void refresh(std::string user, std::string token, Answer answer) = 0;

 protected:
  ~TokenRefresher() = default;
};

/// Gets the events of single sockets, for a log. On the reactor's thread; must not wait or throw.
/// `permit` is the object that open() was given for the socket; `user` is empty if it is anonymous.
class SocketLog {
 public:
  virtual void on_error_frame(const void* permit, std::string_view user, ErrorCode code,
                              std::string_view detail) noexcept = 0;
  /// The relay, not the peer, closed a socket. `code` is no_status if no Close was sent.
  virtual void on_close(const void* permit, std::string_view user, EndReason reason,
                        CloseCode code) noexcept = 0;
  /// A socket ends before the backplane confirmed its join. Returns the HTTP response for its
  /// client. Throws std::bad_alloc.
  virtual std::string on_refused(const void* permit, std::string_view user, EndReason reason) = 0;

 protected:
  ~SocketLog() = default;
};

/// Why a call had no answer.
enum class CallProblem : std::uint8_t {
  timeout,    // calls that wait only; the relay may still do what was asked
  stopped,    // the relay has stopped
  no_memory,  // asynchronous calls only; the others throw std::bad_alloc
};

template <typename T>
using CallResult = Result<T, CallProblem>;

/// Gets the result of an asynchronous call, once, on the reactor's thread. It must not wait.
template <typename T>
using Completion = std::function<void(CallResult<T>)>;

class RelayService final : private Observer, private Scheduler, private NodeCalls {
 public:
  /// Makes the backplane, on the reactor's thread. Null: for one node.
  using BackplaneMaker = std::function<std::unique_ptr<ClusterBackplane>(
      Loop&, Directory&, Fanout&, Reachability&, NodeCalls&)>;

  /// `listener` gets every outcome except Outcome::chat, on the reactor's thread. It, `refresher`,
  /// `log` and `missed` may be null; otherwise they must outlive the service. Throws
  /// std::system_error.
  RelayService(const RelayOptions& options, Observer* listener, TokenRefresher* refresher,
               SocketLog* log = nullptr, MissedSource* missed = nullptr,
               const BackplaneMaker& make_backplane = nullptr);
  ~RelayService();

  // ---- any thread but the reactor's

  /// Adopts a socket whose request was admitted. False while draining and once stopped; see
  /// Reactor::adopt.
  bool open(AdoptedSocket& socket, std::string response, std::shared_ptr<void> permit,
            SessionParameters parameters, std::string early = {});
  /// The same for a socket under TLS, when the web server has released it; see Reactor::adopt.
  bool open(std::unique_ptr<TlsStream>& stream, FileDescriptor& gate, std::string response,
            std::shared_ptr<void> permit, SessionParameters parameters,
            Reactor::ProblemReport on_problem);

  /// See Router and Backplane. Each waits for the answer until `deadline`. Each throws
  /// std::bad_alloc.
  CallResult<SocketCount> notify(std::string user, std::string json,
                                 std::chrono::milliseconds deadline);
  CallResult<UserPresence> presence(std::string user, std::chrono::milliseconds deadline);
  CallResult<SocketCount> end_sessions(std::string user, std::chrono::milliseconds deadline);
  /// See UserListing, and ClusterBackplane.
  CallResult<UserPage> list_users(std::string after, std::size_t limit,
                                  std::chrono::milliseconds deadline);

  /// The nodes of the cluster; without one, none.
  CallResult<NodeList> list_nodes(std::chrono::milliseconds deadline);

  /// The same for the question what `user` missed. `is_counted`: it takes a message from the user's
  /// rate bucket, and is refused with ErrorCode::rate_limited if that is empty.
  CallResult<MissedAnswer> missed(std::string user, MissedQuestion question, bool is_counted,
                                  std::chrono::milliseconds deadline);

  /// Applies new limits from now on.
  void apply(const RelayOptions& options);

  void drain(std::uint32_t deadline_ms) { reactor_->drain(deadline_ms); }
  /// Ends the thread. Calls that still wait for other nodes end with CallProblem::stopped.
  void stop();

  const RelayStats& stats() const noexcept { return stats_; }
  const ReactorStats& reactor_stats() const noexcept { return reactor_->stats(); }

  // ---- any thread

  /// See Reactor::post.
  bool post(TaskQueue::Task task) { return reactor_->post(std::move(task)); }

  /// The same calls, which do not wait. False once stopped: `done` is then not called. Otherwise it
  /// is called once, never before this returns where the caller is the reactor's thread. Each
  /// throws std::bad_alloc, and `done` is not called.
  bool notify_async(std::string user, std::string json, Completion<SocketCount> done);
  bool presence_async(std::string user, Completion<UserPresence> done);
  bool end_sessions_async(std::string user, Completion<SocketCount> done);

  /// For event sources. Its functions are for the reactor's thread.
  Loop& loop() noexcept { return *reactor_; }

  // ---- the reactor's thread, for sessions

  Router& router() noexcept { return *router_; }
  void evict_idle() noexcept { directory_.evict_idle(now()); }
  const Now& now() const noexcept override { return reactor_->now(); }
  std::size_t max_queue_bytes() const noexcept { return reactor_->pool().limits().max_queue_bytes; }
  void on_opened(SocketKind kind) noexcept;
  void on_closed(const Connection& connection, SocketKind kind, std::string_view user) noexcept;
  /// The response for a socket whose join was not confirmed; empty without a SocketLog.
  std::string on_refused(const Connection& connection, std::string_view user);
  void log_error_frame(const Connection& connection, std::string_view user, ErrorCode code,
                       std::string_view detail) noexcept;
  void refresh(Connection& connection, Member& member, std::string user, std::string token,
               const ShortText& id);
  /// Sends the answer, or an error with `id`, to `member` if it is still there then.
  void ask_missed(Connection& connection, Member& member, std::string user, MissedQuestion question,
                  const ShortText& id);
  void on_delivery(const Delivery& delivery) noexcept override;

 private:
  /// Runs what waits for run_at().
  class WorkTimer final : public Timer {
   public:
    WorkTimer(TimerQueue& queue, RelayService& service) : Timer(queue), service_(service) {}

   private:
    void on_timer() noexcept override {
      service_.reachability_.run();
      service_.listing_.run();
    }

    RelayService& service_;
  };

  void count_open(SocketKind kind, int change) noexcept;
  void on_error_sent(ErrorCode code) noexcept override;
  void run_at(std::int64_t steady_ms) noexcept override;
  Reactor::SessionMaker session_maker(SessionParameters parameters);
  void set_expiry(Connection& connection, std::int64_t expires_at);
  void missed_here(std::string user, MissedQuestion question, Answer<MissedAnswer> answer) override;
  void list_users_here(std::string_view after, std::size_t limit, std::int64_t until_ms,
                       UserListing::Answer answer) override;
  void ask_nodes(std::string user, MissedQuestion question, Answer<MissedAnswer> answer);
  template <typename T, typename F>
  bool call_async(Completion<T> done, F ask);

  RelayStats stats_;
  Observer* listener_;
  TokenRefresher* refresher_;
  SocketLog* log_;
  MissedSource* missed_;
  Directory directory_;
  Fanout fanout_;
  Reachability reachability_;
  UserListing listing_;
  std::unique_ptr<Backplane> backplane_;
  ClusterBackplane* cluster_ = nullptr;  // backplane_, if there are other nodes
  std::optional<Router> router_;
  // A pointer, so that the destructor can end its thread before the members that sessions use.
  std::unique_ptr<Reactor> reactor_;
  std::optional<WorkTimer> work_timer_;  // made on its thread
};

}  // namespace waystation
