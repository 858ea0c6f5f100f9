// The parameters of a query string, for calls that refuse what they do not know.
#pragma once

#include <charconv>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace waystation {

/// An invalid parameter.
class BadQuery : public std::runtime_error {
 public:
  explicit BadQuery(const Error& error) : std::runtime_error(error.message) {}
  BadQuery(std::string_view name, const std::string& should)
      : std::runtime_error(std::string(name) + ": " + should) {}
};

inline constexpr char kBadEscapes[] = "a '%' must be followed by two hexadecimal digits";

/// Throws BadQuery for the first parameter that is not `known`: ignored, such as a misspelt filter,
/// it would return more than requested. The last one of `known` is not named in the text: it is the
/// token of the caller.
void refuse_unknown(std::string_view query, std::span<const std::string_view> known);

/// The value of a parameter; empty if it is missing. Throws BadQuery if it is there twice.
std::string value_of(std::string_view query, std::string_view name);

/// Sets `number` if the parameter is there. Throws BadQuery(`should`) if it is no number.
template <typename T>
void read_number(std::string_view query, std::string_view name, const std::string& should,
                 T& number) {
  const std::string text = value_of(query, name);
  if (text.empty()) return;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || stop != text.data() + text.size()) throw BadQuery(name, should);
}

/// The parameter `limit`: 1 to `most`, `standard` if it is missing. Throws BadQuery.
std::size_t limit_of(std::string_view query, std::size_t standard, std::size_t most);

/// The user id in a parameter; empty if it is missing. Throws BadQuery.
std::string user_of(std::string_view query, std::string_view name);

}  // namespace waystation
