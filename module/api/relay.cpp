#include "api/relay.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#include "api/options.hpp"
#include "reactor/adopted_socket.hpp"
#include "relay/json_scanner.hpp"
#include "websocket/handshake.hpp"
#include "websocket/utf8.hpp"

namespace waystation {
namespace {

// How long the HTTP API waits for the relay.
constexpr std::chrono::milliseconds kHttpDeadline{5000};
// How many events may wait for the callback thread.
constexpr std::size_t kMaxEvents = 8192;
// How many refreshed tokens may wait to be checked: some tenths of a second's worth.
constexpr std::size_t kMaxTokenChecks = 4096;
// How long those that wait at the end may still be run.
constexpr std::chrono::milliseconds kLastCallbacks{1000};
// How long draining waits at least for the audit's rows to be on the disk.
constexpr std::chrono::milliseconds kLastRows{500};

const char* null_if_empty(const std::string& text) {
  return text.empty() ? nullptr : text.c_str();
}

CallStatus status_of(CallProblem problem) {
  return problem == CallProblem::timeout ? CallStatus::timeout : CallStatus::stopped;
}

Refusal stopping() {
  return {
      503, "stopping", "the relay is going away; try again in a moment", {{"Retry-After", "5"}}};
}

Refusal no_socket(const char* code, std::string detail) {
  return {503, code, std::move(detail), {{"Retry-After", "1"}}};
}

}  // namespace

Relay::Relay(std::uint32_t id, const waystation_options& options)
    : id_(id),
      user_data_(options.user_data),
      identify_(options.identify),
      on_event_(options.on_event),
      log_lines_(options.on_log, options.user_data),
      max_message_bytes_(options.max_message_bytes),
      descriptor_reserve_(options.descriptor_reserve),
      admission_(admission_options(options)),
      http_(admission_, *this),
      dispatcher_(kMaxEvents, "waystation-call", [this] { log_lines_.deliver(); }),
      audit_(make_audit(options, [this](waystation_log_level level,
                                        const std::string& line) { log(level, line); })),
      service_(relay_options(options),
               options.on_event == nullptr && audit_ == nullptr ? nullptr : this, this) {
  log_doubts(options);
}

Relay::~Relay() {
  stop();
}

void Relay::log_doubts(const waystation_options& options) {
  for (const auto& doubt : doubts_about(admission_options(options))) {
    log(WAYSTATION_LOG_WARNING, doubt);
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
  // Notified under the lock: once it is released, the relay may be gone.
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
  // Nothing more is told to any of these from here on.
  if (audit_) audit_->stop();
  if (token_checks_) token_checks_->stop(std::chrono::milliseconds(0));
  {
    const MutexLock lock(uses_mutex_);
    while (uses_ != 0) unused_.wait(uses_mutex_);
  }
  // Nobody is left who could log anything, and what was logged is still handed over.
  dispatcher_.stop(kLastCallbacks, [this](std::size_t abandoned) {
    if (abandoned == 0) return;
    events_lost_.fetch_add(abandoned, std::memory_order_relaxed);
    log(WAYSTATION_LOG_WARNING, std::to_string(abandoned) +
                                    " events were not handed over before the relay ended: the "
                                    "callback was too slow");
  });
}

void Relay::drain(std::uint32_t deadline_ms) {
  using std::chrono::milliseconds;
  using std::chrono::steady_clock;
  draining_ = true;
  const auto until = steady_clock::now() + milliseconds(deadline_ms);
  service_.drain(deadline_ms);
  if (!audit_) return;
  // So that the rows are safe even where the host's end is not as orderly as its beginning.
  const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
  audit_->flush(std::max(left, kLastRows));
}

void Relay::log(waystation_log_level level, std::string_view line) noexcept {
  if (log_lines_.add(level, line)) dispatcher_.nudge();
}

std::size_t Relay::max_message_bytes() const {
  return max_message_bytes_.load(std::memory_order_relaxed);
}

std::string Relay::refuse(const Refusal& refusal, int* status) {
  refused_.fetch_add(1, std::memory_order_relaxed);
  socket_refusals_.add(refusal.code);
  *status = refusal.status;
  return render(refusal);
}

/// A refusal that is not admission's, which lets the page of an allowed origin read its own.
std::string Relay::refuse(const Request& request, Refusal refusal, int* status) {
  for (auto& line : admission_.cors_headers(request)) refusal.headers.push_back(std::move(line));
  return refuse(refusal, status);
}

std::variant<NotOurs, std::string, Taken> Relay::upgrade(const Request& request, int descriptor,
                                                         int* status) {
  if (const auto asked = admission_.preflight(request)) {
    *status = asked->status;
    return render(*asked);
  }
  auto verdict = admission_.admit(request, wall_clock_ms());
  if (std::holds_alternative<NotOurs>(verdict)) return NotOurs{};
  if (const auto* refusal = std::get_if<Refusal>(&verdict)) {
    if (refusal->status != 426) return refuse(*refusal, status);
    // Which promises that an upgrade would succeed.
    if (draining_) return refuse(request, stopping(), status);
    if (!has_descriptors(descriptor_reserve_)) {
      return refuse(request, no_socket("full", "too few descriptors are left"), status);
    }
    return refuse(*refusal, status);
  }
  if (draining_) return refuse(request, stopping(), status);

  auto& admitted = std::get<Admitted>(verdict);
  auto response = switching_protocols(admitted.key, admitted.subprotocol);
  auto place = std::make_shared<Place>(std::move(admitted.place));
  SessionParameters session{admitted.kind, admitted.protocol, std::move(admitted.group),
                            std::move(admitted.caller).value_or(std::move(admitted.user)),
                            admitted.expires_at_ms};

  auto adopted = adopt_socket({descriptor, request.remote_address, request.remote_port,
                               request.local_port, descriptor_reserve_});
  if (const auto* failure = std::get_if<AdoptionFailure>(&adopted)) {
    using Cause = AdoptionFailure::Cause;
    const bool full = failure->cause == Cause::exhausted;
    // A peer that has gone is an everyday thing; the rest somebody should know of.
    log(failure->cause == Cause::not_found ? WAYSTATION_LOG_DEBUG : WAYSTATION_LOG_WARNING,
        "a socket was refused: " + failure->detail);
    return refuse(request, no_socket(full ? "full" : "not_adoptable", failure->detail), status);
  }
  auto& socket = std::get<AdoptedSocket>(adopted);
  try {
    if (service_.open(socket, std::move(response), std::move(place), std::move(session))) {
      *status = 101;
      return Taken{};
    }
  } catch (const std::bad_alloc&) {
    // The web server has nothing any more to answer on.
  }
  return refuse_taken(request, std::move(socket), status);
}

Taken Relay::refuse_taken(const Request& request, AdoptedSocket socket, int* status) {
  const auto bytes = refuse(request, stopping(), status);
  // It is short, and nothing was sent before it: the kernel has room.
  ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return Taken{};
}

std::variant<NotOurs, std::string> Relay::http(const Request& request, int* status) {
  const auto response = http_.handle(request, wall_clock_ms());
  if (!response) return NotOurs{};
  if (!response->code.empty()) http_refusals_.add(response->code);
  *status = response->status;
  return render_for(request, *response);
}

std::variant<NotOurs, std::string> Relay::check_origin(const Request& request, int* status) {
  const auto refusal = admission_.check_host_and_origin(request);
  if (!refusal) return NotOurs{};
  http_refusals_.add(refusal->code);
  *status = refusal->status;
  return render_for(request, to_response(*refusal));
}

std::size_t Relay::end_slow_connections(std::span<const std::uint16_t> ports, std::size_t workers) {
  return slow_connections_.end({.ports = ports,
                                .workers = workers,
                                .is_exempt =
                                    [this](const AddressBytes& bytes) {
                                      return admission_.is_trusted_proxy(
                                          Address::from_bytes(bytes));
                                    },
                                // RFC 9112, section 2.1: an empty line ends the header.
                                .is_whole =
                                    [](std::string_view bytes) {
                                      return bytes.find("\r\n\r\n") != std::string_view::npos;
                                    }});
}

void Relay::reconfigure(const waystation_options& changed) {
  auto options = changed;
  options.user_data = user_data_;
  options.identify = identify_;
  auto admission = admission_options(options);
  const auto relay = relay_options(options);
  check_audit_options(options);
  if (const auto problem = admission_.reconfigure(std::move(admission))) {
    throw std::invalid_argument(*problem);
  }
  max_message_bytes_ = options.max_message_bytes;
  descriptor_reserve_ = options.descriptor_reserve;
  service_.apply(relay);
  if (audit_) audit_->set_retention(options.audit_retention_days, options.audit_max_bytes);
  log_doubts(options);
}

void Relay::on_delivery(const Delivery& delivery) noexcept {
  if (audit_) audit_->on_delivery(delivery);
  if (on_event_ == nullptr) return;
  // Copied, since the callback comes later; there is nothing of what the message said to copy.
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
    // Out of memory. Counted below, like an event that the queue had no room for.
  }
  events_lost_.fetch_add(1, std::memory_order_relaxed);
}

void Relay::refresh(std::string user, std::string token, Answer answer) {
  auto check = [this, user = std::move(user), token = std::move(token), answer] {
    const auto verdict = admission_.refresh(token, user, wall_clock_ms());
    if (const auto* refusal = std::get_if<Refusal>(&verdict)) {
      answer({0, refusal->detail});
    } else {
      answer({std::get<RefreshedToken>(verdict).expires_at_ms, {}});
    }
  };
  if (!admission_.takes_tokens()) return check();
  const auto busy = [answer] {
    answer({0, "the server is busy; send the token again in a moment"});
  };
  // Where there is no room for it the token stays unchecked: the client keeps its old one and hears
  // why.
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
    // No thread to be had.
  }
  busy();
}

RelayCalls::Pushed Relay::push(std::string_view user, std::string_view json) {
  if (auto problem = problem_with_json(json); !problem.empty()) {
    return {CallStatus::not_json, 0, std::move(problem)};
  }
  const auto result = service_.notify(std::string(user), std::string(json), kHttpDeadline);
  if (const auto* problem = std::get_if<CallProblem>(&result)) return {status_of(*problem), 0, {}};
  return {CallStatus::done, std::get<std::size_t>(result), {}};
}

RelayCalls::Presence Relay::presence(std::string_view user) {
  auto result = service_.presence(std::string(user), kHttpDeadline);
  if (const auto* problem = std::get_if<CallProblem>(&result)) return {status_of(*problem), 0, {}};
  auto& presence = std::get<UserPresence>(result);
  return {CallStatus::done, presence.push_sockets, std::move(presence.groups)};
}

RelayCalls::Ended Relay::end_sessions(std::string_view user) {
  const auto result = service_.end_sessions(std::string(user), kHttpDeadline);
  if (const auto* problem = std::get_if<CallProblem>(&result)) return {status_of(*problem), 0};
  return {CallStatus::done, std::get<std::size_t>(result)};
}

RelayCalls::Health Relay::health() {
  const auto f = figures();
  Health health{draining_,
                waystation_version(),
                {{"chat_sockets", f.chat_sockets},
                 {"push_sockets", f.push_sockets},
                 {"groups", f.groups},
                 {"queued_bytes", f.queued_bytes},
                 {"accepted", f.accepted},
                 {"refused", f.refused},
                 {"messages_chat", f.messages_chat},
                 {"messages_pushed", f.messages_pushed},
                 {"messages_undelivered", f.messages_undelivered},
                 {"notifications", f.notifications},
                 {"deliveries_dropped", f.deliveries_dropped},
                 {"errors_sent", f.errors_sent},
                 {"closed_slow", f.closed_slow},
                 {"closed_dead", f.closed_dead},
                 {"events_lost", f.events_lost}}};
  add_audit_health(audit_.get(), health);
  return health;
}

RelayCalls::AuditPage Relay::audit(const AuditFilter& filter, std::optional<AuditCursor> after,
                                   std::size_t limit, AuditOrder order) {
  return audit_page(audit_.get(), filter, after, limit, order);
}

waystation_figures Relay::figures() const {
  const auto read = [](const std::atomic<std::uint64_t>& figure) {
    return figure.load(std::memory_order_relaxed);
  };
  const auto& relay = service_.figures();
  const auto& reactor = service_.reactor_figures();
  waystation_figures figures{};
  figures.size = sizeof figures;
  figures.chat_sockets = read(relay.chat_sockets);
  figures.push_sockets = read(relay.push_sockets);
  figures.groups = read(relay.groups);
  figures.queued_bytes = read(reactor.queued_bytes);
  figures.accepted = read(relay.accepted);
  figures.refused = read(refused_);
  figures.messages_chat = read(relay.messages_chat);
  figures.messages_pushed = read(relay.messages_pushed);
  figures.messages_undelivered = read(relay.messages_undelivered);
  figures.notifications = read(relay.notifications);
  figures.deliveries_dropped = read(relay.deliveries_dropped);
  figures.errors_sent = read(relay.errors_sent);
  figures.closed_slow = read(reactor.closed_slow);
  figures.closed_dead = read(reactor.closed_dead);
  figures.events_lost = read(events_lost_);
  figures.log_lines_lost = log_lines_.lost();
  add_audit_figures(audit_.get(), figures);
  return figures;
}

std::optional<Tally> Relay::tally(int which) const {
  // Names are literals, which end with a NUL.
  const auto collect = [](const auto& counts, auto name_of) {
    Tally result;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      result.emplace_back(name_of(i).data(), counts[i].load(std::memory_order_relaxed));
    }
    return result;
  };
  switch (which) {
    case WAYSTATION_TALLY_SOCKETS_REFUSED:
      return socket_refusals_.tally();
    case WAYSTATION_TALLY_HTTP_REFUSED:
      return http_refusals_.tally();
    case WAYSTATION_TALLY_DELIVERIES_DROPPED:
      return collect(service_.figures().dropped_by_reason,
                     [](std::size_t i) { return end_reason_name(static_cast<EndReason>(i)); });
    case WAYSTATION_TALLY_ERRORS_SENT:
      return collect(service_.figures().errors_by_code,
                     [](std::size_t i) { return error_code_name(static_cast<ErrorCode>(i)); });
  }
  return std::nullopt;
}

std::string problem_with_json(std::string_view json) {
  if (!is_utf8(json)) return "the text is not UTF-8";
  JsonScanner scanner(json);
  std::string_view value;
  if (scanner.value(&value) && scanner.end()) return {};
  return "not JSON at byte " + std::to_string(scanner.position()) + ": " + scanner.problem();
}

std::int64_t wall_clock_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace waystation
