// How a request is refused, and the one place that writes plain HTTP responses.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace waystation {

/// Header fields to send: name, value. Neither may hold a line break.
using HeaderLines = std::vector<std::pair<std::string, std::string>>;

/// Why a request is refused.
struct Refusal {
  int status = 500;
  std::string code;    // for programs: "bad_group"
  std::string detail;  // for people, English
  HeaderLines headers = {};
};

/// A response other than 101.
struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";  // left out where there is no body and none is due
  std::string body;
  HeaderLines headers = {};
  std::string code = {};  // of the refusal that it is; empty: it is none
};

/// The response that says why: {"error":{"code":…,"detail":…}}.
HttpResponse to_response(const Refusal& refusal);

/// The response as it goes over the wire: status line, Content-Type, Content-Length, `Cache-Control:
/// no-store`, `X-Content-Type-Options: nosniff`, the response's own fields, `Connection: close`, the
/// body. `head_only` leaves the body out (an answer to HEAD). A field with a line break in it is left out: nobody may write a header.
std::string render(const HttpResponse& response, bool head_only = false);

/// The same for a refusal.
std::string render(const Refusal& refusal);

/// The reason phrase for a status (RFC 9110, section 15; RFC 6585); "Unknown" for others.
std::string_view reason_phrase(int status) noexcept;

}  // namespace waystation
