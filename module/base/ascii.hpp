// ASCII letters, independent of the locale.
#pragma once

#include <string>
#include <string_view>

namespace waystation {

/// Maps A-Z to a-z, and any other character to itself.
constexpr char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string to_lower(std::string_view text);

/// Whether two texts are equal without regard to the case of ASCII letters.
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

}  // namespace waystation
