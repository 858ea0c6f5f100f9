#include "relay/names.hpp"

#include <algorithm>

namespace waystation {
namespace {

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
constexpr bool is_user_char(char c) noexcept {
  return is_digit(c) || (c >= 'a' && c <= 'z');
}

bool all_digits(std::string_view text) noexcept {
  return std::ranges::all_of(text, is_digit);
}

std::string_view without_leading_zeros(std::string_view digits) noexcept {
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  return digits;
}

static_assert(kMaxUserBytes == 64, "WAYSTATION_USER_ID_RULE says so");

/// The two parts of a group name with exactly one '_' that are user ids, in any order.
std::optional<GroupUsers> split_group(std::string_view name) noexcept {
  const auto split = name.find('_');
  if (split == std::string_view::npos) return std::nullopt;
  const GroupUsers users{name.substr(0, split), name.substr(split + 1)};
  if (!is_user_id(users.lo) || !is_user_id(users.hi)) return std::nullopt;
  return users;
}

}  // namespace

bool is_user_id(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxUserBytes && std::ranges::all_of(text, is_user_char);
}

Result<void> check_user_id(std::string_view name, std::string_view text) {
  if (is_user_id(text)) return {};
  return option_error(name, in_quotes(text), "not a user", WAYSTATION_USER_ID_RULE);
}

std::strong_ordering compare_users(std::string_view a, std::string_view b) noexcept {
  if (all_digits(a) && all_digits(b)) {
    const auto x = without_leading_zeros(a);
    const auto y = without_leading_zeros(b);
    if (const auto by_length = x.size() <=> y.size(); by_length != 0) return by_length;
    if (const auto by_digits = x <=> y; by_digits != 0) return by_digits;
  }
  return a <=> b;
}

std::optional<GroupUsers> parse_group(std::string_view name) noexcept {
  const auto users = split_group(name);
  return users && compare_users(users->lo, users->hi) < 0 ? users : std::nullopt;
}

std::string group_error(std::string_view name) {
  constexpr std::string_view kRule = "; a group is named <lo>_<hi> after its two users";
  std::string text = "group: ";
  const auto users = split_group(name);
  if (!users && name.find('_') == std::string_view::npos) {
    text.append("no '_' in its name").append(kRule).append(", such as alice_bob");
  } else if (!users) {
    text.append("not two valid users").append(kRule);
    text.append(", and a user is " WAYSTATION_USER_ID_RULE);
  } else if (users->lo == users->hi) {
    text.append(users->lo).append(" is named twice; a group has two different users");
  } else {
    text.append("its users are in the wrong order; this group is named ");
    text.append(users->hi).append("_").append(users->lo);
  }
  return text;
}

}  // namespace waystation
