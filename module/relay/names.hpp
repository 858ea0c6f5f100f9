// User ids and group names.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace waystation {

/// The longest user id, in bytes.
inline constexpr std::size_t kMaxUserBytes = 64;

/// Whether `text` is a user id: one to 64 of the characters 0-9 and a-z.
bool is_user_id(std::string_view text) noexcept;

/// The order of two user ids within a group's name: as numbers where both are all digits (equal
/// numbers byte by byte), otherwise byte by byte.
std::strong_ordering compare_users(std::string_view a, std::string_view b) noexcept;

/// A group's two users, as views into its name.
struct GroupUsers {
  std::string_view lo;
  std::string_view hi;
};

/// Splits `<lo>_<hi>`. Nothing where it is not a group name in its only right form; `why`, if
/// given, then says what is wrong and what the right form would be.
std::optional<GroupUsers> parse_group(std::string_view name, std::string* why = nullptr);

}  // namespace waystation
