// The two socket routes.
#pragma once

#include <string_view>
#include <variant>

#include "admission/refusal.hpp"
#include "relay/envelope.hpp"
#include "relay/names.hpp"

namespace waystation {

/// Not a route of ours: the path belongs to someone else.
struct Declined {};

/// A socket route. Views into the path.
struct SocketRoute {
  SocketKind kind = SocketKind::chat;
  std::string_view name;  // the group, or the user
  GroupUsers users;       // where chat
};

/// Reads a path: /ws/chat/<group> or /push/<user>, each with or without its last '/'. Nothing is
/// decoded or normalised. Under /ws/chat/ and /push/ everything else is refused: 400 bad_group or
/// bad_user where only the name is wrong (the detail says what is right), 404 not_found where the
/// path has more to it: further segments, dot segments, '%', '\', control characters.
std::variant<Declined, SocketRoute, Refusal> parse_socket_route(std::string_view path);

}  // namespace waystation
