// The HTTP API: request in, response out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "admission/admission.hpp"
#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "admission/routes.hpp"
#include "audit/audit_reader.hpp"
#include "base/result.hpp"
#include "relay/missed.hpp"
#include "relay/node_list.hpp"
#include "relay/user_listing.hpp"

namespace waystation {

/// Why a call into the relay has no result.
struct CallFailure {
  enum class Cause : std::uint8_t {
    not_json,  // push only: the text is not JSON (RFC 8259)
    timeout,   // no answer in time; the relay may still execute the call
    stopped,   // the relay is not running
    off,       // audit only: there is no audit
    failed,    // audit only: the file cannot be read
    busy,      // missed only: too many questions wait
    too_fast,  // missed only: the user's message rate is exceeded
  };
  Cause cause;
  std::string problem = {};  // not_json, failed: what is wrong; others: may be empty
};

/// The calls from the HTTP API into the relay. Called on the web server's threads, several at once.
/// Each call waits for its answer, until a deadline that the implementation sets. Throws only
/// std::bad_alloc.
class RelayCalls {
 public:
  struct Presence {
    std::uint64_t push_sockets = 0;
    std::vector<std::string> groups;  // with a chat socket of the user
    bool is_partial = false;          // a node of the cluster did not answer
  };
  struct Count {
    std::uint64_t sockets = 0;
    bool is_partial = false;  // a node of the cluster did not answer
  };
  struct Health {
    bool is_draining = false;
    std::string version;
    std::vector<std::pair<std::string, std::uint64_t>> stats;  // as waystation_stats names them
    std::string audit = "off";     // state of the writer: "ok", "disk full", …
    std::string audit_fault = {};  // a sentence; empty: no fault
  };

  virtual ~RelayCalls() = default;

  /// Checks that `json` is JSON, and sends it unchanged to every push socket of `user`. The result
  /// is the number of sockets whose queue accepted it.
  virtual Result<Count, CallFailure> push(std::string_view user, std::string_view json) = 0;
  virtual Result<Presence, CallFailure> presence(std::string_view user) = 0;
  /// The first `limit` users who are here, after the name `after`; see UserListing.
  virtual Result<UserPage, CallFailure> users(std::string_view after, std::size_t limit) = 0;
  /// The nodes of the cluster; without one, none.
  virtual Result<NodeList, CallFailure> nodes() = 0;
  /// Closes all sockets of `user`. The result is their number.
  virtual Result<Count, CallFailure> end_sessions(std::string_view user) = 0;
  virtual Health health() = 0;

  /// The first `limit` rows of the audit after the cursor `after`, in the given order.
  virtual Result<std::vector<AuditRow>, CallFailure> audit(const AuditFilter& filter,
                                                           std::optional<AuditCursor> after,
                                                           std::size_t limit, AuditOrder order) = 0;

  /// What `user` missed. Counts against their message rate.
  virtual Result<Missed, CallFailure> missed(const std::string& user, MissedQuestion question) = 0;

  /// The longest body of a push, in bytes.
  virtual std::size_t max_message_bytes() const = 0;
};

/// Answers POST /api/v1/push/<user>, GET /api/v1/presence/<user>, GET /api/v1/presence,
/// DELETE /api/v1/sessions/<user>, GET /api/v1/nodes, GET /api/v1/audit, GET /api/v1/missed and
/// GET /healthz. Any thread.
class HttpApi {
 public:
  /// `relay` must outlive it.
  explicit HttpApi(RelayCalls& relay) : relay_(relay) {}

  /// Handles /healthz and all paths under /api/; declines any other path. The response to HEAD has
  /// a body, which render_for() omits. The body of a request is read only for calls that have one,
  /// and only after the caller's permission is checked by `admission`.
  ///
  /// Refused with 400 bad_user, bad_request, bad_json, bad_query; 401, 403
  /// (AdmissionSnapshot::authorize);
  /// 404 not_found, audit_off; 405 method_not_allowed with Allow; 408 timeout;
  /// 411 length_required; 413 too_large;
  /// 415 unsupported_media_type; 429 rate_limited; 503 stopping, audit_unavailable, audit_busy;
  /// 504 timeout.
  std::variant<Declined, Refusal, HttpResponse> handle(const AdmissionSnapshot& admission,
                                                       const Request& request, std::int64_t now_ms);

 private:
  RelayCalls& relay_;
};

/// Whether HttpApi::handle() answers the path: /healthz, /api and all paths under /api/.
bool is_api_path(const Request& request) noexcept;

/// The refusal of a request whose call has no result.
Refusal refusal_of(CallFailure failure);

/// Serializes the response to `request`.
std::string render_for(const Request& request, const HttpResponse& response);

}  // namespace waystation
