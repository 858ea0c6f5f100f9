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

constexpr std::string_view kGroupRule = "a group is named <lo>_<hi> after its two users";

}  // namespace

bool is_user_id(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxUserBytes && std::ranges::all_of(text, is_user_char);
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

std::optional<GroupUsers> parse_group(std::string_view name, std::string* why) {
  const auto fail = [why](std::string reason) -> std::optional<GroupUsers> {
    if (why != nullptr) *why = std::move(reason);
    return std::nullopt;
  };
  const auto split = name.find('_');
  if (split == std::string_view::npos) {
    return fail("group: no '_' in its name; " + std::string(kGroupRule) + ", such as alice_bob");
  }
  const GroupUsers users{name.substr(0, split), name.substr(split + 1)};
  if (!is_user_id(users.lo) || !is_user_id(users.hi)) {
    return fail("group: not two valid users; " + std::string(kGroupRule) +
                ", and a user is 1 to 64 of the characters 0-9 and a-z");
  }
  const auto order = compare_users(users.lo, users.hi);
  if (order == 0) {
    return fail("group: " + std::string(users.lo) +
                " is named twice; a group has two different users");
  }
  if (order > 0) {
    return fail("group: its users are in the wrong order; this group is named " +
                std::string(users.hi) + "_" + std::string(users.lo));
  }
  return users;
}

}  // namespace waystation
