// Paths of the socket routes: an accepted path is exactly a route, and no other path is accepted.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "admission/routes.hpp"
#include "fuzz/one_input.hpp"

using namespace waystation;

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

int fuzz_one_input(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const std::string_view prefix : {"", "/ws/chat/", "/push/"}) {
    const std::string path = std::string(prefix) + std::string(text);
    const auto parsed = parse_socket_route(path);
    if (const auto* route = std::get_if<SocketRoute>(&parsed)) {
      const bool is_chat = route->kind == SocketKind::chat;
      std::string same = is_chat ? "/ws/chat/" : "/push/";
      same += is_chat ? std::string(route->users.lo) + "_" + std::string(route->users.hi)
                      : std::string(route->name);
      must(path == same || path == same + "/");
      must(is_chat ? is_user_id(route->users.lo) && is_user_id(route->users.hi) &&
                         compare_users(route->users.lo, route->users.hi) < 0
                   : is_user_id(route->name));
    } else if (const auto* refusal = std::get_if<Refusal>(&parsed)) {
      must(refusal->status() == 400 || refusal->status() == 404);
      must(path.starts_with("/ws/chat/") || path.starts_with("/push/"));
      must(render(*refusal).starts_with("HTTP/1.1 4"));
    } else {
      must(!path.starts_with("/ws/chat/") && !path.starts_with("/push/"));
    }
  }
  return 0;
}
