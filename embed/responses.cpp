#include "embed/responses.hpp"

namespace waystation::server {
namespace {

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Error";
  }
}

}  // namespace

std::string status_line(int status) {
  std::string line = "HTTP/1.1 " + std::to_string(status) + " ";
  return line.append(reason_phrase(status)).append("\r\n");
}

std::string error_json(std::string_view code, std::string_view detail) {
  std::string body = R"({"error":{"code":")";
  body.append(code).append(R"(","detail":")").append(detail);
  return body.append("\"}}\n");
}

}  // namespace waystation::server
