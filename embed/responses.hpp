// What the server's own HTTP responses have in common. The library writes those of its own routes.
#pragma once

#include <string>
#include <string_view>

namespace waystation::server {

/// "HTTP/1.1 404 Not Found\r\n", with the reason phrase of the status (RFC 9110, section 15).
std::string status_line(int status);

/// The body of an error, as the library writes it: {"error":{"code":…,"detail":…}} and a line end.
/// `code` and `detail` are texts of the server's own, without characters to escape.
std::string error_json(std::string_view code, std::string_view detail);

}  // namespace waystation::server
