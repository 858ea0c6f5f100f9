// GET /api/v1/missed: a query string in, what a user missed out.
#pragma once

#include <string_view>

#include "admission/admission.hpp"
#include "admission/refusal.hpp"
#include "base/result.hpp"
#include "http/http_api.hpp"

namespace waystation {

/// The response to a query such as "since=0" or "after=…", for the caller's own user. Parameters:
///
///   - since: ms since 1970, inclusive
///   - after: the `next` of an earlier response; one of the two is required
///   - user: in open mode only, where operators ask for any user
///
/// Any other parameter is refused, except access_token, which is not checked here.
///
/// Refused with 400 bad_query; 401, 403 (AdmissionSnapshot::authorize_user); 404 audit_off; 429
/// rate_limited; 503 stopping, audit_unavailable, audit_busy; 504 timeout.
Result<HttpResponse, Refusal> answer_missed(const AdmissionSnapshot& admission, RelayCalls& relay,
                                            const Request& request, std::string_view query,
                                            std::int64_t now_ms);

}  // namespace waystation
