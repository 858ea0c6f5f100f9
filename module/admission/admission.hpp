// From a request to a refusal or an admitted socket.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "admission/identity.hpp"
#include "admission/limits.hpp"
#include "admission/options.hpp"
#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "admission/routes.hpp"
#include "admission/token.hpp"
#include "base/result.hpp"
#include "relay/envelope.hpp"

namespace waystation {

/// A socket that may be taken over.
struct Admitted {
  SocketKind kind = SocketKind::chat;
  Protocol protocol = Protocol::plain;
  std::string group;                  // where chat: the group's name
  std::string user;                   // where push: the user of the path
  std::optional<std::string> caller;  // nothing: anonymous (open mode, plain, chat)
  std::string key;                    // the Sec-WebSocket-Key to answer
  std::string_view subprotocol;       // to name in the answer; empty: none. Static storage
  std::int64_t expires_at_ms = 0;     // ms since 1970; 0: never
  Permit permit;                      // to be held as long as the socket
};

/// A refreshed token.
struct RefreshedToken {
  std::int64_t expires_at_ms = 0;
};

/// Decides who gets in. Any thread; each call uses one state of the options from its beginning to
/// its end. Nothing but std::bad_alloc is thrown, the constructor aside.
class Admission {
 public:
  /// Throws OptionError.
  explicit Admission(AdmissionOptions options);
  ~Admission();

  /// Puts other options in force, keys read anew; open sockets stay. On an error, the one that the
  /// constructor would throw, everything stays as it was.
  Result<void> reconfigure(AdmissionOptions options);

  /// Reads the key file again. On an error the old keys stay.
  Result<void> reload_keys();

  /// Checks a request for a socket route, in this order: route and method, host, origin, identity,
  /// membership, subprotocol, TLS, limits, handshake (RFC 6455, section 4.2.1). The permit in the
  /// limits is reserved in the result. A plain GET on a route gets 426 only where an upgrade would
  /// have been admitted.
  std::variant<Declined, Refusal, Admitted> admit(const Request& request, std::int64_t now_ms);

  /// The check of host and origin alone, for paths that the host application serves. Refused with
  /// 403 bad_host, bad_origin.
  Result<void, Refusal> check_host_and_origin(const Request& request) const;

  /// Whether the caller may use what `scope` protects: host, origin, identity, scope. Refused with
  /// 403 bad_host, bad_origin, missing_scope, not_an_operator (open mode, where the scopes belong
  /// to operators), 401 unauthenticated.
  Result<void, Refusal> authorize(const Request& request, Scope scope, std::int64_t now_ms) const;

  /// Whether the caller may see the health status and the statistics: host, origin, and the client
  /// address is one of `operators`. Refused with 403.
  Result<void, Refusal> authorize_operator(const Request& request) const;

  /// The same as yes or no.
  bool is_operator(const Request& request) const { return authorize_operator(request).has_value(); }

  /// Whether `address` is one of `trusted_proxies`.
  bool is_trusted_proxy(const Address& address) const;

  /// Whether refresh() has a signature to check, which takes its time.
  bool accepts_tokens() const;

  /// Checks a token that `user` sent on an open socket: valid, and theirs.
  Result<RefreshedToken, TokenProblem> refresh(std::string_view token, std::string_view user,
                                               std::int64_t now_ms) const;

  /// The client address of a request as text, for the log; "unknown" if it has none.
  std::string client_of(const Request& request) const;

  /// The header fields that let the page of an allowed origin read the answer (Fetch, section
  /// 3.2); none for any other.
  HeaderLines cors_headers(const Request& request) const;

  /// The answer to a browser that asks beforehand whether a page may send what is more than a plain
  /// request, such as Authorization (Fetch, section 3.2.2). Nothing where this is no such question,
  /// or it comes from a page that may not ask. `methods` are those of the path. A page of our own
  /// gets a 204 without CORS header fields: it needs none.
  std::optional<HttpResponse> preflight(const Request& request, std::string_view methods) const;

  /// The same for the socket routes, which a page asks with a plain GET why a socket was refused.
  std::optional<HttpResponse> preflight(const Request& request) const;

  /// The limits, for figures.
  const Limits& limits() const noexcept { return limits_; }

 private:
  struct Settings;
  std::variant<Declined, Refusal, Admitted> admit(const Settings& settings, const Request& request,
                                                  std::int64_t now_ms);
  std::shared_ptr<const Settings> settings() const;
  static Result<std::shared_ptr<const Settings>> read(AdmissionOptions options);

  Result<void> change(AdmissionOptions options);

  std::mutex change_mutex_;            // one change after the other
  mutable std::mutex settings_mutex_;  // held to copy or swap the pointer only
  std::shared_ptr<const Settings> settings_;
  Limits limits_;
};

}  // namespace waystation
