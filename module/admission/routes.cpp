#include "admission/routes.hpp"

#include <algorithm>
#include <string>

namespace waystation {
namespace {

constexpr std::string_view kChatPrefix = "/ws/chat/";
constexpr std::string_view kPushPrefix = "/push/";

/// Whether another server could resolve the segment to a different path.
bool has_unsafe_characters(std::string_view segment) noexcept {
  return segment == "." || segment == ".." || std::ranges::any_of(segment, [](char c) {
           return c == '/' || c == '\\' || c == '%' || static_cast<unsigned char>(c) < 0x20 ||
                  c == 0x7F;
         });
}

}  // namespace

std::variant<Declined, SocketRoute, Refusal> parse_socket_route(std::string_view path) {
  SocketRoute route;
  if (path.starts_with(kChatPrefix)) {
    route.kind = SocketKind::chat;
    path.remove_prefix(kChatPrefix.size());
  } else if (path.starts_with(kPushPrefix)) {
    route.kind = SocketKind::push;
    path.remove_prefix(kPushPrefix.size());
  } else {
    return Declined{};
  }
  if (path.ends_with('/')) path.remove_suffix(1);
  if (has_unsafe_characters(path)) {
    return Refusal{RefusalCode::not_found,
                   "the socket routes are exactly /ws/chat/<group>/ and /push/<user>/"};
  }
  route.name = path;
  if (route.kind == SocketKind::push) {
    if (!is_user_id(path)) {
      return Refusal{RefusalCode::bad_user,
                     "the route is /push/<user>/, and a user is " WAYSTATION_USER_ID_RULE};
    }
    return route;
  }
  const auto users = parse_group(path);
  if (!users) return Refusal{RefusalCode::bad_group, group_error(path)};
  route.users = *users;
  return route;
}

bool is_socket_path(const Request& request) {
  const auto target = split_target(request);
  return target && !std::holds_alternative<Declined>(parse_socket_route(target->path));
}

}  // namespace waystation
