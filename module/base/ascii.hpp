// ASCII letters, whatever the locale.
#pragma once

#include <string>
#include <string_view>

namespace waystation {

/// A-Z as a-z, any other character unchanged.
constexpr char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string to_lower(std::string_view text);

/// Whether two texts differ at most in the case of their letters.
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

}  // namespace waystation
