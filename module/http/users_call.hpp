// GET /api/v1/presence: a query string in, a page of users out.
#pragma once

#include <string_view>

#include "admission/refusal.hpp"
#include "base/result.hpp"
#include "http/http_api.hpp"

namespace waystation {

/// The response to a query such as "limit=50&after=bob". Parameters:
///
///   - limit: 1 to 1000 users, by default 100
///   - after: a user id; usually the `next` of an earlier response
///
/// Any other parameter is refused, except access_token, which is not checked here.
///
/// Refused with 400 bad_query; 503 stopping; 504 timeout.
Result<HttpResponse, Refusal> answer_users(RelayCalls& relay, std::string_view query);

}  // namespace waystation
