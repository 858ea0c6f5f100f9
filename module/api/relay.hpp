// The relay: the composition of all modules behind the C API's handle.
#pragma once

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "admission/admission.hpp"
#include "api/audit.hpp"
#include "api/cluster.hpp"
#include "api/dispatcher.hpp"
#include "api/handover.hpp"
#include "api/log_lines.hpp"
#include "api/stats.hpp"
#include "api/warning_interval.hpp"
#include "base/mutex.hpp"
#include "http/http_api.hpp"
#include "reactor/relay_service.hpp"
#include "reactor/slow_connections.hpp"
#include "waystation/waystation.h"

namespace waystation {

/// A complete HTTP response.
struct HttpReply {
  int status = 500;
  std::string bytes;
};

/// A response in place of a socket.
struct Answered {
  std::string_view code;  // of the refusal; empty: a response that is no refusal
  HttpResponse response;
};

/// A request that was admitted, and what its socket needs.
struct Entry {
  std::string response;  // the 101
  std::shared_ptr<Permit> permit;
  SessionParameters session;
};

/// The relay owns the socket. The web server sends nothing.
struct Adopted {
  int status = 101;  // sent to the client
};

/// The refusal code for the status of a request that the web server could not read. Nothing for
/// other statuses.
std::optional<RefusalCode> code_for_unread_request(int status) noexcept;

/// Connects the modules. Any thread may call it, except the reactor's. A thread that runs a
/// callback of this relay must not call stop().
class Relay final : private Observer,
                    private TokenRefresher,
                    private RelayCalls,
                    private SocketLog {
 public:
  /// Needs checked options. Throws OptionError (for a file), std::system_error or std::bad_alloc.
  Relay(std::uint32_t id, const waystation_options& options);
  ~Relay() override;

  std::uint32_t id() const noexcept { return id_; }

  /// `stream` is complete, or null; then `descriptor` is used.
  std::variant<Declined, HttpReply, Adopted> upgrade(const Request& request, int descriptor,
                                                     const waystation_stream* stream);

  // The steps of upgrade(), for sockets that come later. Refusals are counted and logged.
  std::variant<Declined, Answered, Entry> admit(const Request& request);
  /// Checks the key of an asker.
  std::optional<Refusal> refuse_asker(const HandedOver& client);
  Answered refuse_upgrade(const Request& request, const Refusal& refusal);
  /// For an admitted request. The response lets pages of allowed origins read the reason.
  Answered refuse_admitted(const Request& request, Refusal refusal);
  Answered refuse_adoption(const Request& request, const AdoptionFailure& failure,
                           std::string user);
  /// False while the relay drains, and when memory is out; the socket then stays the caller's.
  bool open(AdoptedSocket& socket, Entry entry, std::string early);
  std::uint32_t descriptor_reserve() const noexcept {
    return descriptor_reserve_.load(std::memory_order_relaxed);
  }

  /// See waystation_handover_listen, and Handover::listen.
  bool listen(int door) { return handover_.listen(door); }

  /// Returns nothing if the relay does not serve the path.
  std::optional<HttpReply> http(const Request& request);
  /// The refusal if Host or Origin is not allowed, or nothing.
  std::optional<HttpReply> check_origin(const Request& request);
  /// Counts and logs a request that the web server could not read.
  HttpReply refuse_unread(const Request& request, RefusalCode code);
  bool is_operator(const Request& request) {
    return admission_.snapshot().authorize_operator(request).has_value();
  }
  /// See waystation_end_slow_connections. Throws std::bad_alloc.
  std::size_t end_slow_connections(std::span<const std::uint16_t> ports, std::size_t workers);

  /// Which end_slow_connections() leaves alone. To be told while it serves a request.
  SlowConnections& slow_connections() noexcept { return slow_connections_; }

  RelayService& service() noexcept { return service_; }
  std::size_t max_message_bytes() const override;
  waystation_stats stats() const noexcept;
  /// Returns nothing if `counter` is not a waystation_counter. Throws std::bad_alloc.
  std::optional<LabelCounts> counts(int counter) const;

  /// Applies the live options. Callbacks do not change. Throws OptionError, and then changes
  /// nothing, or what the constructor throws.
  void reconfigure(const waystation_options& options);

  void drain(std::uint32_t deadline_ms);

  /// Stops the relay. Waits for calls of upgrade() and http() on the web server's threads, and for
  /// the running callback. Delivers waiting events for up to one second, and counts and logs the
  /// rest. No callback runs after it returns.
  void stop();

  /// Whether the calling thread runs a callback of this relay, for which stop() would wait.
  bool is_in_callback() const noexcept {
    return dispatcher_.is_own_thread() || Use::is_inside(*this);
  }

  /// Registers a call, so that stop() waits for it.
  class Use {
   public:
    explicit Use(Relay& relay) noexcept;
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

    /// Whether the calling thread is in a call of this relay.
    static bool is_inside(const Relay& relay) noexcept;

    /// False if the relay is stopping. The caller must not use it then.
    explicit operator bool() const noexcept { return entered_; }

   private:
    Relay& relay_;
    bool entered_;
    const Use* const outer_;  // the enclosing call on the same thread
    static thread_local const Use* innermost;
  };

  /// Logs a line, unless it is less severe than the log level. Any thread; never waits for on_log.
  void log(waystation_log_level level, std::string_view line) noexcept;
  bool logs(waystation_log_level level) const noexcept {
    return static_cast<int>(level) <= log_level_.load(std::memory_order_relaxed);
  }

 private:
  // Observer, on the reactor's thread.
  void on_delivery(const Delivery& delivery) noexcept override;
  void on_error_sent(ErrorCode) noexcept override {}

  // TokenRefresher, on the reactor's thread.
  void refresh(std::string user, std::string token, Answer answer) override;

  // SocketLog, on the reactor's thread.
  void on_error_frame(const void* permit, std::string_view user, ErrorCode code,
                      std::string_view detail) noexcept override;
  void on_close(const void* permit, std::string_view user, EndReason reason,
                CloseCode code) noexcept override;
  std::string on_refused(const void* permit, std::string_view user, EndReason reason) override;

  // RelayCalls, on a web server's thread.
  Result<Count, CallFailure> push(std::string_view user, std::string_view json) override;
  Result<Presence, CallFailure> presence(std::string_view user) override;
  Result<UserPage, CallFailure> users(std::string_view after, std::size_t limit) override;
  Result<NodeList, CallFailure> nodes() override;
  Result<Count, CallFailure> end_sessions(std::string_view user) override;
  Health health() override;
  Result<std::vector<AuditRow>, CallFailure> audit(const AuditFilter& filter,
                                                   std::optional<AuditCursor> after,
                                                   std::size_t limit, AuditOrder order) override;

  Result<Missed, CallFailure> missed(const std::string& user, MissedQuestion question) override;

  std::variant<Declined, HttpReply, Adopted> adopt_tls(const Request& request,
                                                       const waystation_stream& stream,
                                                       Entry entry);
  void on_not_released(const char* problem, const void* permit, std::string_view user) noexcept;
  HttpReply refuse_http(const Request& request, const Refusal& refusal);
  void log_refusal(const char* what, const Request& request, const Refusal& refusal) noexcept;
  void log_refusal(const char* what, const Refusal& refusal, const std::string& from) noexcept;
  void log_adoption_failure(const AdoptionFailure& failure) noexcept;
  std::future<void> leave_cluster();
  void log_warnings(const waystation_options& options);

  const std::uint32_t id_;
  void* const user_data_;
  int (*const identify_)(void*, const waystation_request*, waystation_identity*);
  void (*const on_event_)(void*, const waystation_event*);
  LogLines log_lines_;
  std::atomic<std::size_t> max_message_bytes_;
  std::atomic<std::uint32_t> descriptor_reserve_;
  std::atomic<int> log_level_;  // a waystation_log_level
  WarningInterval adoption_warnings_;
  WarningInterval slow_warnings_;
  std::atomic<std::uint64_t> upgrades_refused_ = 0;
  RefusalCounts upgrade_refusals_;
  RefusalCounts http_refusals_;
  std::atomic<std::uint64_t> events_lost_ = 0;
  std::atomic<bool> draining_ = false;

  Mutex uses_mutex_;
  Condition unused_;
  std::size_t uses_ WAYSTATION_GUARDED_BY(uses_mutex_) = 0;
  bool closed_ WAYSTATION_GUARDED_BY(uses_mutex_) = false;

  Admission admission_;
  HttpApi http_;
  SlowConnections slow_connections_;
  Dispatcher dispatcher_;         // runs only on_event and on_log
  std::unique_ptr<Audit> audit_;  // null: off. May log from its constructor on
  // Checks refreshed tokens on its own thread, so that they do not wait for callbacks. Created by
  // the reactor's thread for the first token.
  std::unique_ptr<Dispatcher> token_checks_;
  std::unique_ptr<Cluster> cluster_;  // null: one node
  RelayService service_;
  Handover handover_;
};

/// The bytes of the response to `request`.
HttpReply to_reply(const Request& request, const Answered& answered);

/// Sends a response on a socket that the web server has given away.
void send_reply(int socket, const HttpReply& reply) noexcept;

/// What is wrong with a JSON text, or empty.
std::string problem_with_json(std::string_view json);

}  // namespace waystation
