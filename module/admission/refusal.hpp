// Refusals, and the writer of plain HTTP responses.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admission/refusal_codes.hpp"

namespace waystation {

/// Header fields to send: name, value. render() omits fields that contain a line break.
using HeaderLines = std::vector<std::pair<std::string, std::string>>;

/// Why a request is refused.
struct Refusal {
  RefusalCode code = RefusalCode::internal;
  std::string detail = {};      // in English; empty: the text of the code
  HeaderLines headers = {};     // without Retry-After, which the code determines
  std::string log_detail = {};  // for the log only, never sent to the client
  std::string user = {};        // for the log: the caller, if they were identified

  int status() const noexcept { return info_of(code).status; }
  std::string_view text() const noexcept { return detail.empty() ? info_of(code).text : detail; }
};

/// A response other than 101.
struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";  // omitted with status 204
  std::string body;
  HeaderLines headers = {};
};

/// The fields that every response has. Browsers must not guess another content type.
inline constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kFixedFields{
    {{"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}}};

/// The response to a refused request: {"error":{"code":…,"detail":…}}.
HttpResponse to_response(const Refusal& refusal);

/// Serializes a response: status line, Content-Type, Content-Length, `Cache-Control: no-store`,
/// `X-Content-Type-Options: nosniff`, the response's own fields, `Connection: close`, the body.
/// `head_only` omits the body (for HEAD). A field that contains a line break is omitted, so that no
/// value can inject a header field.
std::string render(const HttpResponse& response, bool head_only = false);

/// The same for a refusal.
std::string render(const Refusal& refusal);

/// The reason phrase for a status (RFC 9110, section 15; RFC 6585); "Unknown" for others.
std::string_view reason_phrase(int status) noexcept;

}  // namespace waystation
