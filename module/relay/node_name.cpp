#include "relay/node_name.hpp"

#include <algorithm>

namespace waystation {

static_assert(kMaxNodeBytes == 64, "WAYSTATION_NODE_NAME_RULE says so");

bool is_node_name(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxNodeBytes && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  });
}

}  // namespace waystation
