// From a request to a refusal or an admitted socket.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "admission/identity.hpp"
#include "admission/limits.hpp"
#include "admission/options.hpp"
#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "admission/routes.hpp"
#include "admission/token.hpp"
#include "base/mutex.hpp"
#include "base/result.hpp"
#include "relay/envelope.hpp"

namespace waystation {

/// The result of an accepted upgrade request.
struct Admitted {
  SocketKind kind = SocketKind::chat;
  Protocol protocol = Protocol::plain;
  std::string group;                  // chat only: the name of the group
  std::string user;                   // push only: the user in the path
  std::optional<std::string> caller;  // none: anonymous (open mode, plain protocol, chat)
  std::string key;                    // the Sec-WebSocket-Key of the request
  std::string_view subprotocol;       // for the response; empty: none. Static storage
  std::int64_t expires_at_ms = 0;     // ms since 1970; 0: never
  Permit permit;                      // keep it until the socket is closed
};

/// A refreshed token.
struct RefreshedToken {
  std::int64_t expires_at_ms = 0;
};

/// The checks of requests by the options of one moment. Take one for each request, so that a change
/// of the options cannot come between two checks. Any thread. Must not outlive its Admission.
/// Throws only std::bad_alloc.
class AdmissionSnapshot {
 public:
  /// Checks the key of an asker at the door. Refused with 502 bad_handover.
  Result<void, Refusal> check_asker(const HandedOver& client) const;

  /// Checks a request for a socket route, in this order: route and method, host, origin, identity,
  /// membership, subprotocol, TLS, limits, handshake (RFC 6455, section 4.2.1). The result holds a
  /// permit. A plain GET on a route gets 426 only if an upgrade would have been admitted.
  std::variant<Declined, Refusal, Admitted> admit(const Request& request,
                                                  std::int64_t now_ms) const;

  /// Checks only host and origin, for paths that the host application serves. Refused with 403
  /// bad_host, bad_origin.
  Result<void, Refusal> check_host_and_origin(const Request& request) const;

  /// Checks host, origin, identity and `scope`. In open mode operators have all scopes. Refused
  /// with 403 bad_host, bad_origin, missing_scope, not_an_operator (open mode), 401
  /// unauthenticated.
  Result<void, Refusal> authorize(const Request& request, Scope scope, std::int64_t now_ms) const;

  /// Checks host, origin and identity, and returns the caller's user. In open mode, where nobody
  /// has an identity, the caller must be an operator, and there is no user in the result. Refused
  /// with 403 bad_host, bad_origin, bad_subject, not_an_operator (open mode), 401 unauthenticated.
  Result<std::optional<std::string>, Refusal> authorize_user(const Request& request,
                                                             std::int64_t now_ms) const;

  /// Checks host and origin, and that the client address is one of `operators`. Required for the
  /// health status and the statistics. Refused with 403 bad_host, bad_origin, not_an_operator.
  Result<void, Refusal> authorize_operator(const Request& request) const;

  /// Whether `address` is one of `trusted_proxies`.
  bool is_trusted_proxy(const Address& address) const noexcept;

  /// Whether refresh() verifies a signature, which is too slow for the reactor's thread.
  bool accepts_tokens() const noexcept;

  /// Checks a token that `user` sent on an open socket: it must be valid and belong to `user`.
  Result<RefreshedToken, TokenProblem> refresh(std::string_view token, std::string_view user,
                                               std::int64_t now_ms) const;

  /// The client address of a request as text, for the log; "unknown" if it has none.
  std::string client_of(const Request& request) const;

  /// The CORS header fields for a page of an allowed origin (Fetch, section 3.2); none for any
  /// other.
  HeaderLines cors_headers(const Request& request) const;

  /// The response to a CORS preflight request (Fetch, section 3.2.2). Nothing if `request` is not a
  /// preflight, or its host or origin is not allowed. `methods` are the methods of the path. A page
  /// of the same origin gets a 204 without CORS header fields.
  std::optional<HttpResponse> preflight(const Request& request, std::string_view methods) const;

  /// The same for the socket routes. A page sends a plain GET there to learn why its socket was
  /// refused.
  std::optional<HttpResponse> preflight(const Request& request) const;

 private:
  friend class Admission;
  struct Settings;

  AdmissionSnapshot(std::shared_ptr<const Settings> settings, Limits& limits) noexcept
      : settings_(std::move(settings)), limits_(&limits) {}

  std::variant<Declined, Refusal, Admitted> admit_without_cors(const Request& request,
                                                               std::int64_t now_ms) const;

  std::shared_ptr<const Settings> settings_;
  Limits* limits_;
};

/// The options of admission and the limits on connections. Any thread. Only the constructor throws
/// anything other than std::bad_alloc.
class Admission {
 public:
  /// Throws OptionError.
  explicit Admission(AdmissionOptions options);
  ~Admission();

  /// Replaces the options and reads the keys again. Open sockets are not affected. On an error (the
  /// same that the constructor throws) nothing changes.
  Result<void> reconfigure(AdmissionOptions options);

  /// The checks by the options that are in force now.
  AdmissionSnapshot snapshot();

 private:
  using Settings = AdmissionSnapshot::Settings;

  static Result<std::shared_ptr<const Settings>> read(AdmissionOptions options);

  Mutex change_mutex_;    // serializes changes
  Mutex settings_mutex_;  // held only to copy or swap the pointer
  std::shared_ptr<const Settings> settings_ WAYSTATION_GUARDED_BY(settings_mutex_);
  Limits limits_;
};

}  // namespace waystation
