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

/// The order of two user ids in a group name: numerically if both consist of digits (equal numbers
/// byte by byte), otherwise byte by byte.
std::strong_ordering compare_users(std::string_view a, std::string_view b) noexcept;

/// The two users of a group, as views into its name.
struct GroupUsers {
  std::string_view lo;
  std::string_view hi;
};

/// Splits `<lo>_<hi>`. Nothing if it is not a valid group name; then `*why`, if given, is an error
/// text that says what is wrong and what is allowed.
std::optional<GroupUsers> parse_group(std::string_view name, std::string* why = nullptr);

}  // namespace waystation
