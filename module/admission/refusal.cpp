#include "admission/refusal.hpp"

#include "admission/request.hpp"
#include "base/ascii.hpp"
#include "base/cjson.hpp"

namespace waystation {
namespace {

std::string error_body(const Refusal& refusal) {
  const CJson root(require(cJSON_CreateObject()));
  cJSON* const error = require(cJSON_AddObjectToObject(root.get(), "error"));
  require(cJSON_AddStringToObject(error, "code", info_of(refusal.code).name.data()));
  require(cJSON_AddStringToObject(error, "detail", std::string(refusal.text()).c_str()));
  return print(root);
}

bool has_line_break(std::string_view text) noexcept {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

}  // namespace

HttpResponse to_response(const Refusal& refusal) {
  HttpResponse response{refusal.status(), "application/json", error_body(refusal), refusal.headers};
  if (const int seconds = info_of(refusal.code).retry_after_seconds; seconds != 0) {
    response.headers.emplace_back("Retry-After", std::to_string(seconds));
  }
  return response;
}

std::string render(const HttpResponse& response, bool head_only) {
  std::string out = "HTTP/1.1 " + std::to_string(response.status) + " ";
  out += reason_phrase(response.status);
  // A 204 has neither a body nor a Content-Length (RFC 9110, section 8.6).
  const bool has_body = response.status != 204;
  if (has_body) {
    out += "\r\nContent-Type: " + response.content_type;
    out += "\r\nContent-Length: " + std::to_string(response.body.size());
  }
  for (const auto& [name, value] : kFixedFields) {
    out.append("\r\n").append(name).append(": ").append(value);
  }
  std::string connection = "close";
  for (const auto& [name, value] : response.headers) {
    if (has_line_break(name) || has_line_break(value)) continue;
    out.append("\r\n").append(name).append(": ").append(value);
    // Upgrade must be named as an option of the connection (RFC 9110, section 7.8).
    if (equal_ignoring_case(name, "Upgrade")) connection = "Upgrade, close";
  }
  out += "\r\nConnection: " + connection + "\r\n\r\n";
  if (has_body && !head_only) out += response.body;
  return out;
}

std::string render(const Refusal& refusal) {
  return render(to_response(refusal));
}

std::string_view reason_phrase(int status) noexcept {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Unknown";
  }
}

}  // namespace waystation
