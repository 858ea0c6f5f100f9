// How a request is refused, and the one place that writes plain HTTP responses.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admission/refusal_codes.hpp"

namespace waystation {

/// Header fields to send: name, value. Neither may hold a line break.
using HeaderLines = std::vector<std::pair<std::string, std::string>>;

/// Why a request is refused.
struct Refusal {
  RefusalCode code = RefusalCode::internal;
  std::string detail = {};      // for people, English; empty: the code's own text
  HeaderLines headers = {};     // besides Retry-After, which follows from the code
  std::string log_detail = {};  // for the log only: what the client must not be told
  std::string user = {};        // for the log: the caller, if they were identified

  int status() const noexcept { return info_of(code).status; }
  std::string_view text() const noexcept { return detail.empty() ? info_of(code).text : detail; }
};

/// A response other than 101.
struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";  // left out where there is no body and none is due
  std::string body;
  HeaderLines headers = {};
};

/// The response that says why: {"error":{"code":…,"detail":…}}.
HttpResponse to_response(const Refusal& refusal);

/// The response as it goes over the wire: status line, Content-Type, Content-Length,
/// `Cache-Control: no-store`, `X-Content-Type-Options: nosniff`, the response's own fields,
/// `Connection: close`, the body. `head_only` leaves the body out (an answer to HEAD). A field with
/// a line break in it is left out: nobody may write a header.
std::string render(const HttpResponse& response, bool head_only = false);

/// The same for a refusal.
std::string render(const Refusal& refusal);

/// The reason phrase for a status (RFC 9110, section 15; RFC 6585); "Unknown" for others.
std::string_view reason_phrase(int status) noexcept;

}  // namespace waystation
