// The two socket routes.
#pragma once

#include <string_view>
#include <variant>

#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "relay/envelope.hpp"
#include "relay/names.hpp"

namespace waystation {

/// The path is not one of the relay's. The host application handles the request.
struct Declined {};

/// A socket route. Views into the path.
struct SocketRoute {
  SocketKind kind = SocketKind::chat;
  std::string_view name;  // the group, or the user
  GroupUsers users;       // chat only
};

/// Parses a path: /ws/chat/<group> or /push/<user>, each with or without the last '/'. Nothing is
/// decoded or normalised. Any other path under /ws/chat/ and /push/ is refused:
///
///   - 400 bad_group or bad_user if only the name is wrong; the detail says what is allowed.
///   - 404 not_found if the path has further segments, dot segments, '%', '\' or control
///   characters.
std::variant<Declined, SocketRoute, Refusal> parse_socket_route(std::string_view path);

/// Whether the path is the relay's: parse_socket_route() does not decline it.
bool is_socket_path(const Request& request);

}  // namespace waystation
