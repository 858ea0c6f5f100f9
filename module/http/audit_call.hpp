// GET /api/v1/audit: a query string in, a page of rows out.
#pragma once

#include <string_view>

#include "admission/refusal.hpp"
#include "base/result.hpp"
#include "http/http_api.hpp"

namespace waystation {

/// The response to a query such as "since=0&to=bob&outcome=undelivered&limit=50&after=…".
/// Parameters:
///
///   - since, until: ms since 1970; `until` is exclusive
///   - user, from, to: user ids
///   - outcome: pushed, undelivered, dropped, gap; several with commas or repeated
///   - order: oldest (default), newest
///   - limit: 1 to 1000 rows, by default 100
///   - after: the `next` of an earlier response in that order
///
/// Any other parameter is refused, except access_token, which is not checked here.
///
/// Refused with 400 bad_query, 404 audit_off, 503 stopping, audit_unavailable; 504 timeout.
Result<HttpResponse, Refusal> answer_audit(RelayCalls& relay, std::string_view query);

}  // namespace waystation
