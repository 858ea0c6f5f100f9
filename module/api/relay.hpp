// A relay with everything that belongs to it: what stands behind the C API's handle.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "admission/admission.hpp"
#include "api/audit.hpp"
#include "api/dispatcher.hpp"
#include "api/log_lines.hpp"
#include "api/stats.hpp"
#include "http/http_api.hpp"
#include "reactor/mutex.hpp"
#include "reactor/relay_service.hpp"
#include "reactor/slow_connections.hpp"
#include "waystation/waystation.h"

namespace waystation {

/// A response to send as it is.
struct Reply {
  int status = 500;
  std::string bytes;
};

/// The relay owns the socket: there is nothing to send.
struct Adopted {
  int status = 101;  // as the client got it
};

/// The refusal for a status that a web server's glue may refuse with; nothing for any other.
std::optional<RefusalCode> code_for_unread_request(int status) noexcept;

/// Puts the modules together. Every function may be called from any thread but the reactor's;
/// stop() from none that runs a callback of this relay.
class Relay final : private Observer,
                    private TokenRefresher,
                    private RelayCalls,
                    private SocketLog {
 public:
  /// For options that are checked. Throws OptionError (a file), std::system_error or
  /// std::bad_alloc.
  Relay(std::uint32_t id, const waystation_options& options);
  ~Relay() override;

  std::uint32_t id() const noexcept { return id_; }

  std::variant<Declined, Reply, Adopted> upgrade(const Request& request, int descriptor);
  /// Nothing: the path is not the relay's.
  std::optional<Reply> http(const Request& request);
  /// The refusal to send where Host or Origin is not allowed; nothing where both are.
  std::optional<Reply> check_origin(const Request& request);
  /// Counts and logs a request that the web server could not read.
  Reply refuse_unread(const Request& request, RefusalCode code);
  bool is_operator(const Request& request) const { return admission_.is_operator(request); }
  /// See waystation_end_slow_connections. Throws std::bad_alloc.
  std::size_t end_slow_connections(std::span<const std::uint16_t> ports, std::size_t workers);

  /// Which end_slow_connections() leaves alone. To be told while it serves a request.
  SlowConnections& slow_connections() noexcept { return slow_connections_; }

  RelayService& service() noexcept { return service_; }
  std::size_t max_message_bytes() const override;
  waystation_stats stats() const;
  /// Nothing for a number that is no waystation_counter. Throws std::bad_alloc.
  std::optional<LabelCounts> counts(int counter) const;

  /// Takes the options that are live; the callbacks stay. Throws OptionError, and everything stays
  /// as it was, or what the constructor throws.
  void reconfigure(const waystation_options& options);

  void drain(std::uint32_t deadline_ms);

  /// Ends everything; no callback runs when it returns, nor will one. What is still inside
  /// upgrade() or http() on a web server's thread is waited for, and so is the callback that is
  /// running. Events that wait are still handed over, for a second at most; the rest is counted
  /// and logged.
  void stop();

  /// Whether the calling thread runs a callback of this relay, for which stop() would wait.
  bool is_in_callback() const noexcept {
    return dispatcher_.is_own_thread() || Use::is_inside(*this);
  }

  /// Counts one call in, so that stop() can wait for it.
  class Use {
   public:
    explicit Use(Relay& relay) noexcept;
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

    /// Whether the calling thread is in such a call of this relay.
    static bool is_inside(const Relay& relay) noexcept;

    /// False: the relay is stopping, and must not be used.
    explicit operator bool() const noexcept { return entered_; }

   private:
    Relay& relay_;
    bool entered_;
    const Use* const outer_;  // of the same thread
    static thread_local const Use* innermost;
  };

  /// Any thread; never waits for on_log. Lines beyond the log level are left out.
  void log(waystation_log_level level, std::string_view line) noexcept;

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

  // RelayCalls, on a web server's thread.
  Pushed push(std::string_view user, std::string_view json) override;
  Presence presence(std::string_view user) override;
  Ended end_sessions(std::string_view user) override;
  Health health() override;
  AuditPage audit(const AuditFilter& filter, std::optional<AuditCursor> after, std::size_t limit,
                  AuditOrder order) override;

  Reply refuse_upgrade(const Request& request, const Refusal& refusal);
  Reply refuse_admitted(const Request& request, Refusal refusal);
  Adopted refuse_adopted(const Request& request, AdoptedSocket socket);
  Reply refuse_http(const Request& request, const Refusal& refusal);
  void log_refusal(const char* what, const Request& request, const Refusal& refusal) noexcept;
  void log_adoption_failure(const AdoptionFailure& failure) noexcept;
  void log_warnings(const waystation_options& options);
  bool logs(waystation_log_level level) const noexcept {
    return static_cast<int>(level) <= log_level_.load(std::memory_order_relaxed);
  }

  const std::uint32_t id_;
  void* const user_data_;
  int (*const identify_)(void*, const waystation_request*, waystation_identity*);
  void (*const on_event_)(void*, const waystation_event*);
  LogLines log_lines_;
  std::atomic<std::size_t> max_message_bytes_;
  std::atomic<std::uint32_t> descriptor_reserve_;
  std::atomic<int> log_level_;                           // a waystation_log_level
  std::atomic<std::int64_t> warned_of_adoption_at_ = 0;  // ms since 1970
  std::atomic<std::int64_t> warned_of_slow_at_ = 0;      // as above
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
  Dispatcher dispatcher_;         // runs on_event and on_log, and nothing else
  std::unique_ptr<Audit> audit_;  // null: none is kept. Logs from its constructor on
  // Checks refreshed tokens, so that they wait for no callback. The reactor's thread starts it with
  // the first of them.
  std::unique_ptr<Dispatcher> token_checks_;
  RelayService service_;
};

/// What is wrong with a JSON text that is to be passed on; empty where nothing is.
std::string problem_with_json(std::string_view json);

}  // namespace waystation
