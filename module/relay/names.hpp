// User ids and group names.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"

/// The user ids that is_user_id() accepts, as every text says it. A macro, so that tables of texts
/// can use it in their literals.
#define WAYSTATION_USER_ID_RULE "1 to 64 of the characters 0-9 and a-z"

namespace waystation {

/// The longest user id, in bytes.
inline constexpr std::size_t kMaxUserBytes = 64;

/// Whether `text` is a user id: see WAYSTATION_USER_ID_RULE.
bool is_user_id(std::string_view text) noexcept;

/// An error if `text` is no user id: "<name> = <text>: not a user; allowed: <rule>". `name` is the
/// name of the option, argument or parameter with that value.
Result<void> check_user_id(std::string_view name, std::string_view text);

/// The order of two user ids in a group name: numerically if both consist of digits (equal numbers
/// byte by byte), otherwise byte by byte.
std::strong_ordering compare_users(std::string_view a, std::string_view b) noexcept;

/// The two users of a group, as views into its name.
struct GroupUsers {
  std::string_view lo;
  std::string_view hi;
};

/// Splits `<lo>_<hi>`. Nothing if it is not a valid group name.
std::optional<GroupUsers> parse_group(std::string_view name) noexcept;

/// The error text for a name that parse_group() refuses: what is wrong, and what is allowed.
std::string group_error(std::string_view name);

}  // namespace waystation
