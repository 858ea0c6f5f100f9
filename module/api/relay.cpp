#include "api/relay.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <system_error>
#include <utility>

#include "admission/routes.hpp"
#include "api/options.hpp"
#include "api/streams.hpp"
#include "base/clock.hpp"
#include "base/utf8.hpp"
#include "reactor/adopted_socket.hpp"
#include "relay/json_scanner.hpp"
#include "websocket/close_code.hpp"
#include "websocket/handshake.hpp"

namespace waystation {
namespace {

// Maximum time that the HTTP API waits for the reactor.
constexpr std::chrono::milliseconds kHttpDeadline{5000};
static_assert(kHttpDeadline > MissedSource::kAnswerTime);
// Maximum number of events that wait for the callback thread.
constexpr std::size_t kMaxEvents = 8192;
// Maximum number of refreshed tokens that wait for their check: the work of some 0.1 s.
constexpr std::size_t kMaxTokenChecks = 4096;
// During stop(), waiting events may still start for this time.
constexpr std::chrono::milliseconds kLastCallbacks{1000};
// Minimum time that draining waits for the audit to write its rows.
constexpr std::chrono::milliseconds kLastRows{500};
// Limits of the time that draining waits for the engines of the cluster. After a second without a
// node, the others remove it.
constexpr std::chrono::milliseconds kMinLeave{250};
constexpr std::chrono::milliseconds kMaxLeave{1000};

const char* null_if_empty(const std::string& text) {
  return text.empty() ? nullptr : text.c_str();
}

CallFailure failure_of(CallProblem problem) {
  return {problem == CallProblem::timeout ? CallFailure::Cause::timeout
                                          : CallFailure::Cause::stopped};
}

CallFailure failure_of(const MissedFailure& failure) {
  using enum CallFailure::Cause;
  const auto cause = failure.code == ErrorCode::audit_off      ? off
                     : failure.code == ErrorCode::audit_busy   ? busy
                     : failure.code == ErrorCode::rate_limited ? too_fast
                     : failure.code == ErrorCode::timeout      ? timeout
                                                               : failed;
  return {cause, std::string(failure.detail)};
}

/// A field of waystation_stats and the statistic of a module that it shows.
template <typename Source>
struct StatSource {
  std::uint64_t waystation_stats::*field;
  std::atomic<std::uint64_t> Source::*from;
};
constexpr StatSource<RelayStats> kRelayStats[] = {
    {&waystation_stats::chat_sockets, &RelayStats::chat_sockets},
    {&waystation_stats::push_sockets, &RelayStats::push_sockets},
    {&waystation_stats::groups, &RelayStats::groups},
    {&waystation_stats::upgrades_accepted, &RelayStats::accepted},
    {&waystation_stats::messages_chat, &RelayStats::messages_chat},
    {&waystation_stats::messages_pushed, &RelayStats::messages_pushed},
    {&waystation_stats::messages_undelivered, &RelayStats::messages_undelivered},
    {&waystation_stats::notifications, &RelayStats::notifications},
    {&waystation_stats::deliveries_dropped, &RelayStats::deliveries_dropped},
    {&waystation_stats::errors_sent, &RelayStats::errors_sent},
};
constexpr StatSource<ReactorStats> kReactorStats[] = {
    {&waystation_stats::queued_bytes, &ReactorStats::queued_bytes},
    {&waystation_stats::closed_slow, &ReactorStats::closed_slow},
    {&waystation_stats::closed_dead, &ReactorStats::closed_dead},
};

template <typename Source>
void copy_stats(std::span<const StatSource<Source>> table, const Source& source,
                waystation_stats& stats) noexcept {
  for (const auto& row : table) {
    stats.*row.field = (source.*row.from).load(std::memory_order_relaxed);
  }
}

/// " (client 192.0.2.7, user alice)".
std::string caller(std::string_view client, std::string_view user) {
  std::string text = " (client ";
  text.append(client);
  if (!user.empty()) text.append(", user ").append(user);
  return text.append(")");
}

/// The client address of an open socket, from its permit.
std::string client_of(const void* opaque) {
  const auto* const permit = static_cast<const Permit*>(opaque);
  const auto* const address = permit == nullptr ? nullptr : permit->address();
  return address == nullptr ? "unknown" : address->to_string();
}

}  // namespace

HttpReply to_reply(const Request& request, const Answered& answered) {
  return {answered.response.status, render_for(request, answered.response)};
}

void send_reply(int socket, const HttpReply& reply) noexcept {
  // The response fits the empty send buffer, so one send() is enough.
  (void)::send(socket, reply.bytes.data(), reply.bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

Relay::Relay(std::uint32_t id, const waystation_options& options)
    : id_(id),
      user_data_(options.user_data),
      identify_(options.identify),
      on_event_(options.on_event),
      log_lines_(options.on_log, options.user_data),
      max_message_bytes_(options.max_message_bytes),
      descriptor_reserve_(options.descriptor_reserve),
      log_level_(options.log_level),
      admission_(admission_options(options)),
      http_(*this),
      dispatcher_(kMaxEvents, "waystation-call", [this] { log_lines_.deliver(); }),
      audit_(make_audit(options, [this](waystation_log_level level,
                                        const std::string& line) { log(level, line); })),
      cluster_(Cluster::make(options, [this](waystation_log_level level,
                                             const std::string& line) { log(level, line); })),
      service_(relay_options(options),
               options.on_event == nullptr && audit_ == nullptr ? nullptr : this, this, this,
               audit_.get(), cluster_ ? cluster_->backplane_maker() : nullptr),
      handover_(*this) {
  log_warnings(options);
}

Relay::~Relay() {
  stop();
}

void Relay::log_warnings(const waystation_options& options) {
  for (const auto& warning : config_warnings(options)) {
    log(WAYSTATION_LOG_WARNING, warning.message);
  }
}

std::optional<RefusalCode> code_for_unread_request(int status) noexcept {
  switch (status) {
    case 400:
      return RefusalCode::bad_request;
    case 404:
      return RefusalCode::not_found;
    case 431:
      return RefusalCode::too_many_fields;
    default:
      return std::nullopt;
  }
}

thread_local const Relay::Use* Relay::Use::innermost = nullptr;

Relay::Use::Use(Relay& relay) noexcept : relay_(relay), outer_(std::exchange(innermost, this)) {
  const MutexLock lock(relay_.uses_mutex_);
  entered_ = !relay_.closed_;
  if (entered_) ++relay_.uses_;
}

Relay::Use::~Use() {
  innermost = outer_;
  if (!entered_) return;
  const MutexLock lock(relay_.uses_mutex_);
  // Notify under the lock: after its release, the relay may be destroyed.
  if (--relay_.uses_ == 0) relay_.unused_.notify_all();
}

bool Relay::Use::is_inside(const Relay& relay) noexcept {
  for (const Use* use = innermost; use != nullptr; use = use->outer_) {
    if (&use->relay_ == &relay) return true;
  }
  return false;
}

void Relay::stop() {
  draining_ = true;
  {
    const MutexLock lock(uses_mutex_);
    closed_ = true;
  }
  service_.stop();
  handover_.stop();
  // The reactor has stopped, so no more events or rows follow.
  if (audit_) audit_->stop();
  if (token_checks_) token_checks_->stop(std::chrono::milliseconds(0));
  {
    const MutexLock lock(uses_mutex_);
    while (uses_ != 0) unused_.wait(uses_mutex_);
  }
  // No thread is left that logs. The dispatcher still delivers the waiting lines.
  dispatcher_.stop(kLastCallbacks, [this](std::size_t abandoned) {
    if (abandoned == 0) return;
    events_lost_.fetch_add(abandoned, std::memory_order_relaxed);
    log(WAYSTATION_LOG_WARNING, std::to_string(abandoned) +
                                    " events were not delivered before the relay stopped: on_event "
                                    "was too slow");
  });
}

void Relay::drain(std::uint32_t deadline_ms) {
  using std::chrono::milliseconds;
  using std::chrono::steady_clock;
  draining_ = true;
  const auto until = steady_clock::now() + milliseconds(deadline_ms);
  service_.drain(deadline_ms);
  const auto left = [until] {
    return std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
  };
  // The host application may exit or call waystation_free() now.
  std::future<void> has_left;
  try {
    if (cluster_) has_left = leave_cluster();
  } catch (const std::bad_alloc&) {
    // The other nodes remove this one after a second of silence.
  }
  if (audit_) audit_->flush(std::max(left(), kLastRows));
  if (has_left.valid()) has_left.wait_for(std::clamp(left(), kMinLeave, kMaxLeave));
}

/// Ready once the engines know.
std::future<void> Relay::leave_cluster() {
  // The last engine releases the promise, which makes the future ready.
  auto promise = std::make_shared<std::promise<void>>();
  auto has_left = promise->get_future();
  service_.post(
      [this, promise = std::move(promise)]() mutable { cluster_->leave(std::move(promise)); });
  return has_left;
}

void Relay::log(waystation_log_level level, std::string_view line) noexcept {
  if (logs(level) && log_lines_.add(level, line)) dispatcher_.wake();
}

std::size_t Relay::max_message_bytes() const {
  return max_message_bytes_.load(std::memory_order_relaxed);
}

void Relay::log_refusal(const char* what, const Request& request, const Refusal& refusal) noexcept {
  if (!logs(WAYSTATION_LOG_DEBUG)) return;
  try {
    log_refusal(what, refusal, caller(admission_.snapshot().client_of(request), refusal.user));
  } catch (const std::bad_alloc&) {
    // As below.
  }
}

/// `from` is the text of caller().
void Relay::log_refusal(const char* what, const Refusal& refusal,
                        const std::string& from) noexcept {
  if (!logs(WAYSTATION_LOG_DEBUG)) return;
  try {
    const auto& info = info_of(refusal.code);
    std::string line = what;
    line.append(" refused with ").append(std::to_string(info.status)).append(" ");
    line.append(info.name).append(": ");
    // The detail of bad_query repeats what the client wrote, which may be anything.
    line.append(refusal.code == RefusalCode::bad_query ? info.text : refusal.text());
    if (!refusal.log_detail.empty()) line.append("; ").append(refusal.log_detail);
    log(WAYSTATION_LOG_DEBUG, line + from);
  } catch (const std::bad_alloc&) {
    // Out of memory: drop the log line, but send the response.
  }
}

void Relay::log_adoption_failure(const AdoptionFailure& failure) noexcept {
  // A client that disconnected is normal.
  if (failure.cause == AdoptionFailure::Cause::not_found) return;
  if (!adoption_warnings_.is_due()) return;
  try {
    log(WAYSTATION_LOG_WARNING, "sockets cannot be adopted: " + failure.detail +
                                    "; clients get 503, and the next warning is a minute away");
  } catch (const std::bad_alloc&) {
  }
}

void Relay::on_error_frame(const void* permit, std::string_view user, ErrorCode code,
                           std::string_view detail) noexcept {
  if (!logs(WAYSTATION_LOG_DEBUG)) return;
  try {
    std::string line = "error frame ";
    line.append(error_code_name(code)).append(": ").append(detail);
    log(WAYSTATION_LOG_DEBUG, line + caller(client_of(permit), user));
  } catch (const std::bad_alloc&) {
    // Out of memory: drop the log line, but keep the socket.
  }
}

void Relay::on_close(const void* permit, std::string_view user, EndReason reason,
                     CloseCode code) noexcept {
  if (!logs(WAYSTATION_LOG_DEBUG)) return;
  try {
    std::string line = "socket closed ";
    if (code == CloseCode::no_status) {
      line += "without a code: ";
      line += reason == EndReason::dead
                  ? "dead: nothing came from the client for two ping intervals"
                  : std::string(end_reason_name(reason));
    } else {
      line.append("with ").append(std::to_string(static_cast<int>(code))).append(" ");
      line.append(end_reason_name(reason)).append(": ").append(close_reason(code));
    }
    log(WAYSTATION_LOG_DEBUG, line + caller(client_of(permit), user));
  } catch (const std::bad_alloc&) {
    // As in on_error_frame().
  }
}

std::string Relay::on_refused(const void* permit, std::string_view user, EndReason reason) {
  const Refusal refusal{reason == EndReason::going_away ? RefusalCode::stopping
                        : reason == EndReason::failed   ? RefusalCode::full
                                                        : RefusalCode::unavailable};
  upgrades_refused_.fetch_add(1, std::memory_order_relaxed);
  upgrade_refusals_.add(refusal.code);
  log_refusal("upgrade", refusal, caller(client_of(permit), user));
  return render(refusal);
}

/// Refuses an upgrade before it is admitted. Admission has set the fields for allowed origins.
Answered Relay::refuse_upgrade(const Request& request, const Refusal& refusal) {
  upgrades_refused_.fetch_add(1, std::memory_order_relaxed);
  upgrade_refusals_.add(refusal.code);
  log_refusal("upgrade", request, refusal);
  return {info_of(refusal.code).name, to_response(refusal)};
}

Answered Relay::refuse_admitted(const Request& request, Refusal refusal) {
  for (auto& line : admission_.snapshot().cors_headers(request)) {
    refusal.headers.push_back(std::move(line));
  }
  return refuse_upgrade(request, refusal);
}

HttpReply Relay::refuse_http(const Request& request, const Refusal& refusal) {
  http_refusals_.add(refusal.code);
  log_refusal("HTTP request", request, refusal);
  return {refusal.status(), render_for(request, to_response(refusal))};
}

HttpReply Relay::refuse_unread(const Request& request, RefusalCode code) {
  return is_socket_path(request) ? to_reply(request, refuse_upgrade(request, {code}))
                                 : refuse_http(request, {code});
}

std::optional<Refusal> Relay::refuse_asker(const HandedOver& client) {
  auto checked = admission_.snapshot().check_asker(client);
  if (checked) return std::nullopt;
  return std::move(checked.error());
}

std::variant<Declined, Answered, Entry> Relay::admit(const Request& request) {
  const auto admission = admission_.snapshot();
  if (auto asked = admission.preflight(request)) return Answered{{}, std::move(*asked)};
  auto verdict = admission.admit(request, wall_clock_ms());
  if (std::holds_alternative<Declined>(verdict)) return Declined{};
  if (const auto* refusal = std::get_if<Refusal>(&verdict)) {
    if (refusal->status() == 426) {
      // The probe's response promises that an upgrade would succeed.
      if (draining_) return refuse_admitted(request, {RefusalCode::stopping});
      if (!has_descriptors(descriptor_reserve_)) {
        return refuse_admitted(request, {RefusalCode::full, "too few descriptors are left"});
      }
      if (cluster_ && !cluster_->can_join({})) {
        return refuse_admitted(request, {RefusalCode::unavailable});
      }
    }
    return refuse_upgrade(request, *refusal);
  }
  if (draining_) return refuse_admitted(request, {RefusalCode::stopping});

  auto& admitted = std::get<Admitted>(verdict);
  if (cluster_ && !cluster_->can_join(admitted.group)) {
    Refusal refusal{RefusalCode::unavailable};
    refusal.user = std::move(admitted.caller).value_or("");
    return refuse_admitted(request, std::move(refusal));
  }
  return Entry{
      switching_protocols(admitted.key, admitted.subprotocol),
      std::make_shared<Permit>(std::move(admitted.permit)),
      {admitted.kind, admitted.protocol, std::move(admitted.group),
       std::move(admitted.caller).value_or(std::move(admitted.user)), admitted.expires_at_ms}};
}

Answered Relay::refuse_adoption(const Request& request, const AdoptionFailure& failure,
                                std::string user) {
  log_adoption_failure(failure);
  const bool full = failure.cause == AdoptionFailure::Cause::exhausted;
  Refusal refusal{full ? RefusalCode::full : RefusalCode::not_adoptable, failure.detail};
  refusal.user = std::move(user);
  return refuse_admitted(request, std::move(refusal));
}

bool Relay::open(AdoptedSocket& socket, Entry entry, std::string early) {
  try {
    return service_.open(socket, std::move(entry.response), std::move(entry.permit),
                         std::move(entry.session), std::move(early));
  } catch (const std::bad_alloc&) {
    return false;
  }
}

std::variant<Declined, HttpReply, Adopted> Relay::upgrade(const Request& request, int descriptor,
                                                          const waystation_stream* stream) {
  auto verdict = admit(request);
  if (std::holds_alternative<Declined>(verdict)) return Declined{};
  if (const auto* answered = std::get_if<Answered>(&verdict)) return to_reply(request, *answered);
  auto& entry = std::get<Entry>(verdict);
  if (request.is_tls && stream != nullptr) return adopt_tls(request, *stream, std::move(entry));
  auto adopted = adopt_socket({descriptor, request.remote_address, request.remote_port,
                               request.local_port, descriptor_reserve_});
  if (!adopted) {
    return to_reply(request,
                    refuse_adoption(request, adopted.error(), std::move(entry.session.user)));
  }
  if (open(*adopted, std::move(entry), {})) return Adopted{};
  // The web server no longer has the socket.
  const auto reply = to_reply(request, refuse_admitted(request, {RefusalCode::stopping}));
  send_reply(adopted->get(), reply);
  return Adopted{reply.status};
}

/// Adopts a socket together with its TLS session. On each failure the web server gets both back,
/// and sends the refusal.
std::variant<Declined, HttpReply, Adopted> Relay::adopt_tls(const Request& request,
                                                            const waystation_stream& stream,
                                                            Entry entry) {
  // Before the session is held, so that no lack of memory follows.
  Reactor::ProblemReport on_problem = [this, permit = entry.permit,
                                       user = entry.session.user](const char* problem) {
    on_not_released(problem, permit.get(), user);
  };
  auto user = entry.session.user;
  auto tls = std::make_unique<TlsStream>();
  const char* problem = nullptr;
  if (!tls->hold(streams::hold(stream, &problem))) {
    Refusal refusal{RefusalCode::tls_unsupported,
                    std::string("the web server's TLS session cannot be adopted: ") + problem +
                        "; put a TLS proxy in front"};
    refusal.user = std::move(user);
    return to_reply(request, refuse_admitted(request, std::move(refusal)));
  }
  auto adopted = [&] {
    try {
      return adopt_gated({stream.descriptor, request.remote_address, request.remote_port,
                          request.local_port, descriptor_reserve_});
    } catch (const std::bad_alloc&) {
      tls->session().give_back();
      throw;
    }
  }();
  if (!adopted) {
    tls->session().give_back();
    return to_reply(request, refuse_adoption(request, adopted.error(), std::move(user)));
  }
  auto& [socket, gate] = *adopted;
  tls->swap(socket);
  try {
    if (service_.open(tls, gate, std::move(entry.response), std::move(entry.permit),
                      std::move(entry.session), std::move(on_problem))) {
      return Adopted{};
    }
  } catch (const std::bad_alloc&) {
    // The relay is as good as stopped.
  }
  tls->swap(socket);
  const bool is_given_back = give_back(*adopted, stream.descriptor);
  if (is_given_back) tls->session().give_back();
  auto reply = to_reply(request, refuse_admitted(request, {RefusalCode::stopping}));
  if (!is_given_back) return Adopted{reply.status};  // the connection closes
  return reply;
}

/// The web server kept a TLS session that was admitted, or it cannot be used. On the reactor's
/// thread.
void Relay::on_not_released(const char* problem, const void* permit,
                            std::string_view user) noexcept {
  upgrades_refused_.fetch_add(1, std::memory_order_relaxed);
  upgrade_refusals_.add(RefusalCode::not_adoptable);
  const bool warns = adoption_warnings_.is_due();
  if (!warns && !logs(WAYSTATION_LOG_DEBUG)) return;
  try {
    const std::string line = std::string("TLS session not adopted: ") + problem;
    if (warns) {
      log(WAYSTATION_LOG_WARNING, line +
                                      "; the client was disconnected, and the next warning is "
                                      "a minute away");
    }
    if (logs(WAYSTATION_LOG_DEBUG)) {
      log(WAYSTATION_LOG_DEBUG, line + caller(client_of(permit), user));
    }
  } catch (const std::bad_alloc&) {
    // As in on_error_frame().
  }
}

std::optional<HttpReply> Relay::http(const Request& request) {
  const auto answered = http_.handle(admission_.snapshot(), request, wall_clock_ms());
  if (std::holds_alternative<Declined>(answered)) return std::nullopt;
  if (const auto* refusal = std::get_if<Refusal>(&answered)) {
    return refuse_http(request, *refusal);
  }
  const auto& response = std::get<HttpResponse>(answered);
  return HttpReply{response.status, render_for(request, response)};
}

std::optional<HttpReply> Relay::check_origin(const Request& request) {
  const auto checked = admission_.snapshot().check_host_and_origin(request);
  if (checked) return std::nullopt;
  return refuse_http(request, checked.error());
}

std::size_t Relay::end_slow_connections(std::span<const std::uint16_t> ports, std::size_t workers) {
  const auto admission = admission_.snapshot();
  const auto ended =
      slow_connections_.end({.ports = ports,
                             .workers = workers,
                             .is_exempt =
                                 [&admission](const AddressBytes& bytes) {
                                   return admission.is_trusted_proxy(Address::from_bytes(bytes));
                                 },
                             .is_whole = is_server_next},
                            std::chrono::steady_clock::now());
  if (ended) return *ended;
  if (slow_warnings_.is_due()) {
    log(WAYSTATION_LOG_WARNING,
        "slow connections: cannot be found in /proc/self/fd: " + ended.error().message() +
            "; mount /proc and leave descriptors free, or they block other clients");
  }
  return 0;
}

void Relay::reconfigure(const waystation_options& changed) {
  auto options = changed;
  options.user_data = user_data_;
  options.identify = identify_;
  checked(options);
  // The changed options may name no cluster.
  if (cluster_) cluster_->check_live(options);
  auto rules = admission_options(options);
  rules.allow_anonymous = cluster_ == nullptr;  // not what the changed options say
  auto changed_rules = admission_.reconfigure(std::move(rules));
  if (!changed_rules) throw OptionError(std::move(changed_rules.error()));
  max_message_bytes_ = options.max_message_bytes;
  descriptor_reserve_ = options.descriptor_reserve;
  log_level_ = options.log_level;
  service_.apply(relay_options(options));
  if (audit_) audit_->set_retention(options.audit_retention_days, options.audit_max_bytes);
  log_warnings(options);
}

void Relay::on_delivery(const Delivery& delivery) noexcept {
  if (audit_) audit_->on_delivery(delivery);
  if (on_event_ == nullptr) return;
  // Copy the names, because the callback runs later. A delivery has no message content.
  struct Event {
    waystation_outcome outcome;
    std::int64_t at;
    std::string group, from, to, id;
    std::uint64_t reached, bytes;
  };
  const auto outcome = delivery.outcome == Outcome::pushed    ? WAYSTATION_PUSHED
                       : delivery.outcome == Outcome::dropped ? WAYSTATION_DROPPED
                                                              : WAYSTATION_UNDELIVERED;
  try {
    Event event{outcome,
                delivery.at,
                std::string(delivery.group),
                std::string(delivery.from),
                std::string(delivery.to),
                std::string(delivery.id),
                delivery.reached,
                delivery.bytes};
    if (dispatcher_.post([this, event = std::move(event)] {
          waystation_event out{};
          out.size = sizeof out;
          out.outcome = event.outcome;
          out.at = event.at;
          out.group = null_if_empty(event.group);
          out.from = null_if_empty(event.from);
          out.to = event.to.c_str();
          out.message_id = null_if_empty(event.id);
          out.reached = event.reached;
          out.bytes = event.bytes;
          on_event_(user_data_, &out);
        })) {
      return;
    }
  } catch (...) {
    // Out of memory. Counted below, as with a full queue.
  }
  events_lost_.fetch_add(1, std::memory_order_relaxed);
}

void Relay::refresh(std::string user, std::string token, Answer answer) {
  auto check = [this, user = std::move(user), token = std::move(token), answer] {
    auto refreshed = admission_.snapshot().refresh(token, user, wall_clock_ms());
    if (refreshed) {
      answer({refreshed->expires_at_ms, {}});
    } else {
      answer({0, std::move(refreshed.error().detail), std::move(refreshed.error().log_detail)});
    }
  };
  if (!admission_.snapshot().accepts_tokens()) return check();
  const auto busy = [answer] {
    answer({0, "the server is busy; send the token again in a moment"});
  };
  // If the queue is full, the client gets an error and keeps its old token.
  try {
    if (!token_checks_) {
      token_checks_ = std::make_unique<Dispatcher>(kMaxTokenChecks, "waystation-sign");
    }
    if (token_checks_->post([check = std::move(check), busy] {
          try {
            check();
          } catch (const std::bad_alloc&) {
            busy();
          }
        })) {
      return;
    }
  } catch (const std::system_error&) {
    // No thread can be created.
  }
  busy();
}

Result<RelayCalls::Count, CallFailure> Relay::push(std::string_view user, std::string_view json) {
  if (auto problem = problem_with_json(json); !problem.empty()) {
    return CallFailure{CallFailure::Cause::not_json, std::move(problem)};
  }
  const auto reached = service_.notify(std::string(user), std::string(json), kHttpDeadline);
  if (!reached) return failure_of(reached.error());
  return Count{reached->sockets, reached->is_partial};
}

Result<RelayCalls::Presence, CallFailure> Relay::presence(std::string_view user) {
  auto found = service_.presence(std::string(user), kHttpDeadline);
  if (!found) return failure_of(found.error());
  return Presence{found->push_sockets, std::move(found->groups), found->is_partial};
}

Result<UserPage, CallFailure> Relay::users(std::string_view after, std::size_t limit) {
  auto page = service_.list_users(std::string(after), limit, kHttpDeadline);
  if (!page) return failure_of(page.error());
  return std::move(*page);
}

Result<NodeList, CallFailure> Relay::nodes() {
  auto nodes = service_.list_nodes(kHttpDeadline);
  if (!nodes) return failure_of(nodes.error());
  return std::move(*nodes);
}

Result<RelayCalls::Count, CallFailure> Relay::end_sessions(std::string_view user) {
  const auto closed = service_.end_sessions(std::string(user), kHttpDeadline);
  if (!closed) return failure_of(closed.error());
  return Count{closed->sockets, closed->is_partial};
}

RelayCalls::Health Relay::health() {
  Health health{draining_, waystation_version(), {}};
  const auto stats = this->stats();
  for (const auto& info : stat_table()) {
    // add_audit_state() adds this field as text.
    if (info.field_offset == offsetof(waystation_stats, audit_state)) continue;
    health.stats.emplace_back(info.name, value_of(stats, info));
  }
  add_audit_state(audit_.get(), health);
  return health;
}

Result<std::vector<AuditRow>, CallFailure> Relay::audit(const AuditFilter& filter,
                                                        std::optional<AuditCursor> after,
                                                        std::size_t limit, AuditOrder order) {
  return audit_page(audit_.get(), filter, after, limit, order);
}

Result<Missed, CallFailure> Relay::missed(const std::string& user, MissedQuestion question) {
  auto called = service_.missed(user, std::move(question), true, kHttpDeadline);
  if (!called) return failure_of(called.error());
  MissedAnswer& answer = *called;
  if (answer) return std::move(*answer);
  return failure_of(answer.error());
}

waystation_stats Relay::stats() const noexcept {
  waystation_stats stats{};
  stats.size = sizeof stats;
  copy_stats<RelayStats>(kRelayStats, service_.stats(), stats);
  copy_stats<ReactorStats>(kReactorStats, service_.reactor_stats(), stats);
  stats.upgrades_refused = upgrades_refused_.load(std::memory_order_relaxed);
  stats.events_lost = events_lost_.load(std::memory_order_relaxed);
  stats.log_lines_lost = log_lines_.lost();
  add_audit_stats(audit_.get(), stats);
  if (cluster_) cluster_->add_stats(stats);
  return stats;
}

std::optional<LabelCounts> Relay::counts(int counter) const {
  // Names are literals, so they end with a NUL.
  const auto collect = [](const auto& counts, auto name_of) {
    LabelCounts result;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      result.emplace_back(name_of(i).data(), counts[i].load(std::memory_order_relaxed));
    }
    return result;
  };
  const auto reason = [](std::size_t i) { return end_reason_name(static_cast<EndReason>(i)); };
  switch (counter) {
    case WAYSTATION_COUNTER_UPGRADES_REFUSED:
      return upgrade_refusals_.read(RefusedBy::upgrade);
    case WAYSTATION_COUNTER_HTTP_REFUSED:
      return http_refusals_.read(RefusedBy::http);
    case WAYSTATION_COUNTER_DELIVERIES_DROPPED:
      return collect(service_.stats().dropped_by_reason, reason);
    case WAYSTATION_COUNTER_ERRORS_SENT:
      return collect(service_.stats().errors_by_code,
                     [](std::size_t i) { return error_code_name(static_cast<ErrorCode>(i)); });
    case WAYSTATION_COUNTER_SOCKETS_CLOSED:
      return collect(service_.stats().closed_by_reason, reason);
    case WAYSTATION_COUNTER_HANDOVERS:
      return collect(handover_.results(), [](std::size_t i) {
        return handover_result_name(static_cast<HandoverResult>(i));
      });
    case WAYSTATION_COUNTER_CLUSTER_ROUND_TRIPS:
      return cluster_ ? cluster_->round_trips() : LabelCounts();
    default:
      return std::nullopt;
  }
}

std::string problem_with_json(std::string_view json) {
  if (!is_utf8(json)) return "the text is not UTF-8";
  JsonScanner scanner(json);
  std::string_view value;
  if (scanner.value(&value) && scanner.end()) return {};
  return "not JSON at byte " + std::to_string(scanner.position()) + ": " + scanner.problem();
}

}  // namespace waystation
