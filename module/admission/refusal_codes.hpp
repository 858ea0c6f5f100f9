// The codes of refusals (module/PROTOCOL.md, "Refusals"), each written once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "relay/names.hpp"

namespace waystation {

enum class RefusalCode : std::uint8_t {
  bad_request,
  bad_group,
  bad_user,
  bad_subprotocol,
  bad_handshake,
  bad_json,
  bad_query,
  unauthenticated,
  not_a_member,
  not_that_user,
  bad_subject,
  bad_origin,
  bad_host,
  identity_not_accepted,
  missing_scope,
  not_an_operator,
  not_found,
  audit_off,
  method_not_allowed,
  body_timeout,
  length_required,
  too_large,
  unsupported_media_type,
  upgrade_required,
  too_many,
  rate_limited,
  too_many_fields,
  internal,
  tls_unsupported,
  bad_handover,
  full,
  stopping,
  stopped,
  not_adoptable,
  unavailable,
  audit_unavailable,
  audit_busy,
  timeout,
};

/// Where a code is used: on the socket routes, or in the HTTP API and on other paths, or both.
enum class RefusedBy : std::uint8_t { upgrade = 1, http = 2, both = 3 };

struct RefusalCodeInfo {
  RefusalCode code;
  std::string_view name;  // in the response and as a counter label; NUL-terminated
  int status;             // HTTP status
  RefusedBy by;
  int retry_after_seconds;  // of Retry-After; 0: none
  std::string_view text;    // the default detail
};

/// One row per code, in the order of the enumeration. Two share the name `timeout`: 408 for a slow
/// body, 504 for a slow relay.
inline constexpr std::array kRefusalCodes = [] {
  using enum RefusalCode;
  using enum RefusedBy;
  return std::array{
      RefusalCodeInfo{bad_request, "bad_request", 400, both, 0, "the request is not well-formed"},
      RefusalCodeInfo{bad_group, "bad_group", 400, upgrade, 0, "the path does not name a group"},
      RefusalCodeInfo{bad_user, "bad_user", 400, both, 0,
                      "the path must name a user: " WAYSTATION_USER_ID_RULE},
      RefusalCodeInfo{bad_subprotocol, "bad_subprotocol", 400, upgrade, 0,
                      "the subprotocol must be waystation.v1, or none"},
      RefusalCodeInfo{bad_handshake, "bad_handshake", 400, upgrade, 0,
                      "the request is not a WebSocket handshake"},
      RefusalCodeInfo{bad_json, "bad_json", 400, http, 0, "the body is not JSON"},
      RefusalCodeInfo{bad_query, "bad_query", 400, http, 0, "the query has a wrong parameter"},
      RefusalCodeInfo{unauthenticated, "unauthenticated", 401, both, 0, "the caller is not known"},
      RefusalCodeInfo{not_a_member, "not_a_member", 403, upgrade, 0,
                      "only the two users of a group may open it"},
      RefusalCodeInfo{not_that_user, "not_that_user", 403, upgrade, 0,
                      "only the user in the path may open a push socket"},
      RefusalCodeInfo{bad_subject, "bad_subject", 403, both, 0,
                      "the caller's identity is not a user: " WAYSTATION_USER_ID_RULE},
      RefusalCodeInfo{bad_origin, "bad_origin", 403, both, 0,
                      "the page's origin is neither this host and port nor one of "
                      "allowed_origins"},
      RefusalCodeInfo{bad_host, "bad_host", 403, both, 0, "the Host header field is not allowed"},
      RefusalCodeInfo{identity_not_accepted, "identity_not_accepted", 403, upgrade, 0,
                      "the web server in front names a user, and this relay identifies callers "
                      "itself (auth)"},
      RefusalCodeInfo{missing_scope, "missing_scope", 403, http, 0, "the caller lacks a scope"},
      RefusalCodeInfo{not_an_operator, "not_an_operator", 403, http, 0,
                      "the client address is not one of operators"},
      RefusalCodeInfo{not_found, "not_found", 404, both, 0, "there is no such route"},
      RefusalCodeInfo{audit_off, "audit_off", 404, http, 0,
                      "this server keeps no audit (option audit_file)"},
      RefusalCodeInfo{method_not_allowed, "method_not_allowed", 405, both, 0,
                      "the method is not allowed here"},
      RefusalCodeInfo{body_timeout, "timeout", 408, http, 0, "the body took too long to arrive"},
      RefusalCodeInfo{length_required, "length_required", 411, http, 0,
                      "the body needs a Content-Length, and no chunks"},
      RefusalCodeInfo{too_large, "too_large", 413, http, 0, "the body is too long"},
      RefusalCodeInfo{unsupported_media_type, "unsupported_media_type", 415, http, 0,
                      "the body must be application/json"},
      RefusalCodeInfo{upgrade_required, "upgrade_required", 426, upgrade, 0,
                      "this route speaks WebSocket"},
      RefusalCodeInfo{too_many, "too_many", 429, upgrade, 0, "too many sockets are open"},
      RefusalCodeInfo{rate_limited, "rate_limited", 429, http, 1,
                      "the message rate of the user is exceeded"},
      RefusalCodeInfo{too_many_fields, "too_many_fields", 431, both, 0,
                      "the request has too many header fields"},
      RefusalCodeInfo{internal, "internal", 500, both, 0, "the server cannot answer this request"},
      RefusalCodeInfo{tls_unsupported, "tls_unsupported", 501, upgrade, 0,
                      "the web server's TLS session cannot be adopted; let the host application "
                      "call waystation_civetweb_use_openssl before mg_start, or put a TLS proxy in "
                      "front"},
      RefusalCodeInfo{bad_handover, "bad_handover", 502, upgrade, 0,
                      "the web server in front and the relay do not understand each other; the "
                      "relay's log says why"},
      RefusalCodeInfo{full, "full", 503, upgrade, 5, "the relay is full; try again later"},
      RefusalCodeInfo{stopping, "stopping", 503, both, 5,
                      "the relay is shutting down; try again later"},
      RefusalCodeInfo{stopped, "stopped", 503, both, 5, "the relay is not running"},
      RefusalCodeInfo{not_adoptable, "not_adoptable", 503, upgrade, 1,
                      "the connection's socket cannot be adopted"},
      RefusalCodeInfo{unavailable, "unavailable", 503, upgrade, 2,
                      "the exchange between the relay's nodes is not available; try again later"},
      RefusalCodeInfo{audit_unavailable, "audit_unavailable", 503, http, 5,
                      "the audit's file cannot be read"},
      RefusalCodeInfo{audit_busy, "audit_busy", 503, http, 1,
                      "too many questions wait; try again later"},
      RefusalCodeInfo{timeout, "timeout", 504, http, 0,
                      "the relay did not answer in time; it may still execute the request"},
  };
}();

constexpr const RefusalCodeInfo& info_of(RefusalCode code) noexcept {
  return kRefusalCodes[static_cast<std::size_t>(code)];
}

static_assert([] {
  for (std::size_t i = 0; i < kRefusalCodes.size(); ++i) {
    if (kRefusalCodes[i].code != static_cast<RefusalCode>(i)) return false;
  }
  return true;
}());

}  // namespace waystation
