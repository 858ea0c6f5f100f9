#include "reactor/relay_service.hpp"

#include <algorithm>
#include <future>
#include <new>
#include <utility>

#include "relay/local_backplane.hpp"

namespace waystation {
namespace {

constexpr std::int64_t kLongestMs = std::int64_t{100} * 365 * 24 * 3600 * 1000;

/// Adds to a counter that one thread writes: cheaper than a locked addition, and as safe.
void add(std::atomic<std::uint64_t>& counter, std::int64_t change) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + static_cast<std::uint64_t>(change),
                std::memory_order_relaxed);
}

/// Starts a call with a completion and waits for that.
template <typename T, typename F>
CallResult<T> wait_for(std::chrono::milliseconds deadline, F&& start) {
  const auto result = std::make_shared<std::promise<CallResult<T>>>();
  auto future = result->get_future();
  if (!start([result](CallResult<T> value) { result->set_value(std::move(value)); })) {
    return CallProblem::stopped;
  }
  if (future.wait_for(deadline) != std::future_status::ready) return CallProblem::timeout;
  auto value = future.get();
  if (!value && value.error() == CallProblem::no_memory) throw std::bad_alloc();
  return value;
}

}  // namespace

RelayService::RelayService(const RelayOptions& options, Observer* listener,
                           TokenRefresher* refresher, SocketLog* log, MissedSource* missed,
                           const BackplaneMaker& make_backplane)
    : listener_(listener),
      refresher_(refresher),
      log_(log),
      missed_(missed),
      directory_(options.rate),
      fanout_(directory_, *this),
      reachability_(directory_, fanout_, *this),
      listing_(directory_, *this),
      reactor_(std::make_unique<Reactor>(options.reactor)) {
  fanout_.set_show_reachable(options.show_reachable);
  if (make_backplane) {
    std::promise<std::unique_ptr<ClusterBackplane>> made;
    reactor_->post([&] {
      try {
        made.set_value(make_backplane(*reactor_, directory_, fanout_, reachability_, *this));
      } catch (...) {
        made.set_exception(std::current_exception());
      }
    });
    auto cluster = made.get_future().get();
    cluster_ = cluster.get();
    backplane_ = std::move(cluster);
  } else {
    backplane_ = std::make_unique<LocalBackplane>(directory_, fanout_, reachability_);
  }
  router_.emplace(directory_, fanout_, *backplane_);
}

RelayService::~RelayService() {
  stop();
}

void RelayService::stop() {
  reactor_->stop();
  backplane_.reset();  // before the loop, which it may use
}

bool RelayService::open(AdoptedSocket& socket, std::string response, std::shared_ptr<void> permit,
                        SessionParameters parameters, std::string early) {
  return reactor_->adopt(socket, std::move(response), std::move(permit),
                         session_maker(std::move(parameters)), std::move(early));
}

bool RelayService::open(std::unique_ptr<TlsStream>& stream, FileDescriptor& gate,
                        std::string response, std::shared_ptr<void> permit,
                        SessionParameters parameters, Reactor::ProblemReport on_problem) {
  return reactor_->adopt(stream, gate, std::move(response), std::move(permit),
                         session_maker(std::move(parameters)), std::move(on_problem));
}

Reactor::SessionMaker RelayService::session_maker(SessionParameters parameters) {
  return [this, parameters = std::move(parameters)](Connection& connection) {
    set_expiry(connection, parameters.expires_at);
    return make_relay_session(*this, connection, parameters);
  };
}

void RelayService::set_expiry(Connection& connection, std::int64_t expires_at) {
  if (expires_at == 0) return connection.set_expiry(0);
  // Clamped first: the host application chooses the number, and "never" may be a very large one.
  const auto wall = now().wall_ms;
  const auto in_ms = std::clamp<std::int64_t>(expires_at, 0, wall + kLongestMs) - wall;
  connection.set_expiry(std::max<std::int64_t>(now().steady_ms + in_ms, 1));
}

/// A completion that is called once, at the latest when it is destroyed.
template <typename T>
class Pending {
 public:
  explicit Pending(Completion<T> done) : done_(std::move(done)) {}
  ~Pending() {
    if (done_) complete(CallProblem::stopped);
  }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  void complete(CallResult<T> result) {
    if (const auto done = std::exchange(done_, nullptr)) done(std::move(result));
  }

 private:
  Completion<T> done_;
};

/// Calls `ask` with the Answer that `done` waits for, on the reactor's thread.
template <typename T, typename F>
bool RelayService::call_async(Completion<T> done, F ask) {
  return reactor_->post([done = std::move(done), ask = std::move(ask)] {
    std::shared_ptr<Pending<T>> pending;
    try {
      pending = std::make_shared<Pending<T>>(done);
      ask([pending](T value) { pending->complete(std::move(value)); });
    } catch (const std::bad_alloc&) {
      if (pending) return pending->complete(CallProblem::no_memory);
      done(CallProblem::no_memory);
    }
  });
}

bool RelayService::notify_async(std::string user, std::string json, Completion<SocketCount> done) {
  return call_async<SocketCount>(
      std::move(done),
      [this, user = std::move(user), json = std::move(json)](Answer<SocketCount> answer) {
        router_->notify(user, json, now(), std::move(answer));
      });
}

bool RelayService::presence_async(std::string user, Completion<UserPresence> done) {
  return call_async<UserPresence>(std::move(done),
                                  [this, user = std::move(user)](Answer<UserPresence> answer) {
                                    backplane_->presence(user, std::move(answer));
                                  });
}

bool RelayService::end_sessions_async(std::string user, Completion<SocketCount> done) {
  return call_async<SocketCount>(std::move(done),
                                 [this, user = std::move(user)](Answer<SocketCount> answer) {
                                   backplane_->end_sessions(user, std::move(answer));
                                 });
}

CallResult<SocketCount> RelayService::notify(std::string user, std::string json,
                                             std::chrono::milliseconds deadline) {
  return wait_for<SocketCount>(deadline, [&](Completion<SocketCount> done) {
    return notify_async(std::move(user), std::move(json), std::move(done));
  });
}

CallResult<UserPresence> RelayService::presence(std::string user,
                                                std::chrono::milliseconds deadline) {
  return wait_for<UserPresence>(deadline, [&](Completion<UserPresence> done) {
    return presence_async(std::move(user), std::move(done));
  });
}

CallResult<SocketCount> RelayService::end_sessions(std::string user,
                                                   std::chrono::milliseconds deadline) {
  return wait_for<SocketCount>(deadline, [&](Completion<SocketCount> done) {
    return end_sessions_async(std::move(user), std::move(done));
  });
}

CallResult<UserPage> RelayService::list_users(std::string after, std::size_t limit,
                                              std::chrono::milliseconds deadline) {
  auto page =
      wait_for<std::optional<UserPage>>(deadline, [&](Completion<std::optional<UserPage>> done) {
        return call_async<std::optional<UserPage>>(
            std::move(done),
            [this, after = std::move(after), limit, deadline](UserListing::Answer answer) {
              if (cluster_ != nullptr) {
                return cluster_->list_users(after, limit, std::move(answer));
              }
              list_users_here(after, limit, now().steady_ms + deadline.count(), std::move(answer));
            });
      });
  if (!page) return page.error();
  if (!*page) return CallProblem::timeout;
  return std::move(**page);
}

CallResult<NodeList> RelayService::list_nodes(std::chrono::milliseconds deadline) {
  return wait_for<NodeList>(deadline, [&](Completion<NodeList> done) {
    return call_async<NodeList>(std::move(done), [this](Answer<NodeList> answer) {
      if (cluster_ == nullptr) return answer({});
      cluster_->list_nodes(std::move(answer));
    });
  });
}

void RelayService::apply(const RelayOptions& options) {
  reactor_->post([this, options] {
    reactor_->apply(options.reactor);
    directory_.set_rate_limit(options.rate);
    fanout_.set_show_reachable(options.show_reachable);
  });
}

void RelayService::run_at(std::int64_t steady_ms) noexcept {
  try {
    if (!work_timer_) work_timer_.emplace(reactor_->timers(), *this);
  } catch (const std::bad_alloc&) {
    return;  // The next call tries it again.
  }
  work_timer_->set_sooner(steady_ms);
}

void RelayService::count_open(SocketKind kind, int change) noexcept {
  add(kind == SocketKind::chat ? stats_.chat_sockets : stats_.push_sockets, change);
  stats_.groups.store(directory_.group_count(), std::memory_order_relaxed);
  evict_idle();
}

void RelayService::on_opened(SocketKind kind) noexcept {
  add(stats_.accepted, 1);
  count_open(kind, 1);
}

std::string RelayService::on_refused(const Connection& connection, std::string_view user) {
  if (log_ == nullptr) return {};
  return log_->on_refused(connection.permit(), user, connection.end_reason());
}

void RelayService::on_closed(const Connection& connection, SocketKind kind,
                             std::string_view user) noexcept {
  const auto reason = connection.end_reason();
  count_open(kind, -1);
  add(stats_.closed_by_reason[static_cast<std::size_t>(reason)], 1);
  if (log_ == nullptr || reason == EndReason::closed) return;
  log_->on_close(connection.permit(), user, reason, connection.close_code());
}

void RelayService::log_error_frame(const Connection& connection, std::string_view user,
                                   ErrorCode code, std::string_view detail) noexcept {
  if (log_ != nullptr) log_->on_error_frame(connection.permit(), user, code, detail);
}

void RelayService::refresh(Connection& connection, Member& member, std::string user,
                           std::string token, const ShortText& id) {
  const auto refuse = [this, id](Member& to, const std::string& problem,
                                 const std::string& log_detail = {}) {
    on_error_sent(ErrorCode::bad_token);
    to.on_error_sent(ErrorCode::bad_token,
                     log_detail.empty() ? problem : problem + "; " + log_detail);
    to.send({error_text(ErrorCode::bad_token, problem, id.view()), {}, {}}, nullptr);
  };
  if (refresher_ == nullptr) {
    return refuse(member, "token: not accepted; this server identifies callers in another way");
  }
  refresher_->refresh(std::move(user), std::move(token),
                      [this, refuse, socket = connection.id(), &member](RefreshAnswer token_) {
                        reactor_->post([this, refuse, socket, &member, answer = std::move(token_)] {
                          auto* const waiting =
                              reactor_->find(socket);  // with it, the member is still there too
                          if (waiting == nullptr) return;
                          if (!answer.problem.empty()) {
                            return refuse(member, answer.problem, answer.log_detail);
                          }
                          set_expiry(*waiting, answer.expires_at);
                        });
                      });
}

void RelayService::missed_here(std::string user, MissedQuestion question,
                               Answer<MissedAnswer> answer) {
  if (missed_ == nullptr) return answer(missed_failure(ErrorCode::audit_off));
  missed_->ask_missed(std::move(user), std::move(question),
                      [this, answer = std::move(answer)](MissedAnswer missed) {
                        reactor_->post([answer, missed = std::move(missed)] { answer(missed); });
                      });
}

void RelayService::list_users_here(std::string_view after, std::size_t limit, std::int64_t until_ms,
                                   UserListing::Answer answer) {
  listing_.list(after, limit, until_ms, std::move(answer));
}

void RelayService::ask_nodes(std::string user, MissedQuestion question,
                             Answer<MissedAnswer> answer) {
  if (cluster_ != nullptr) {
    return cluster_->missed(std::move(user), std::move(question), std::move(answer));
  }
  missed_here(std::move(user), std::move(question), std::move(answer));
}

void RelayService::ask_missed(Connection& connection, Member& member, std::string user,
                              MissedQuestion question, const ShortText& id) {
  ask_nodes(
      std::move(user), std::move(question),
      [this, frame = id, id = connection.id(), &member](const MissedAnswer& answer) {
        if (reactor_->find(id) == nullptr) return;  // the member has left
        if (!answer) {
          const auto& failure = answer.error();
          return fanout_.send_error(member, {failure.code, std::string(failure.detail), frame});
        }
        member.send({missed_text(*answer), {}, {}}, nullptr);
      });
}

CallResult<MissedAnswer> RelayService::missed(std::string user, MissedQuestion question,
                                              bool is_counted, std::chrono::milliseconds deadline) {
  return wait_for<MissedAnswer>(deadline, [&](Completion<MissedAnswer> done) {
    return call_async<MissedAnswer>(std::move(done),
                                    [this, user = std::move(user), question = std::move(question),
                                     is_counted](Answer<MissedAnswer> answer) {
                                      if (is_counted && !directory_.take_message(user, now())) {
                                        return answer(missed_failure(ErrorCode::rate_limited));
                                      }
                                      ask_nodes(user, question, std::move(answer));
                                    });
  });
}

void RelayService::on_delivery(const Delivery& delivery) noexcept {
  switch (delivery.outcome) {
    case Outcome::chat:
      add(stats_.messages_chat, 1);
      return;  // the listener does not get these
    case Outcome::dropped:
      add(stats_.deliveries_dropped, 1);
      add(stats_.dropped_by_reason[static_cast<std::size_t>(delivery.reason)], 1);
      break;
    case Outcome::pushed:
    case Outcome::undelivered:
      if (delivery.group.empty()) {
        add(stats_.notifications, 1);
      } else {
        add(delivery.outcome == Outcome::pushed ? stats_.messages_pushed
                                                : stats_.messages_undelivered,
            1);
      }
      break;
  }
  if (listener_ != nullptr) listener_->on_delivery(delivery);
}

void RelayService::on_error_sent(ErrorCode code) noexcept {
  add(stats_.errors_sent, 1);
  add(stats_.errors_by_code[static_cast<std::size_t>(code)], 1);
}

}  // namespace waystation
