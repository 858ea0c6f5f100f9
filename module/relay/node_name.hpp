// The names of nodes.
#pragma once

#include <cstddef>
#include <string_view>

/// The names that is_node_name() accepts, as every text says it. A macro, so that tables of texts
/// can use it in their literals.
#define WAYSTATION_NODE_NAME_RULE "1 to 64 of the characters A-Z, a-z, 0-9, '.', '_' and '-'"

namespace waystation {

/// The longest name of a node, in bytes.
inline constexpr std::size_t kMaxNodeBytes = 64;

/// Whether a node may have this name: see WAYSTATION_NODE_NAME_RULE.
bool is_node_name(std::string_view text) noexcept;

}  // namespace waystation
