// The parameters of a query string, for the calls of the HTTP API.
#pragma once

#include <charconv>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "admission/request.hpp"
#include "base/error.hpp"

namespace waystation {

/// An invalid parameter; refused with 400 bad_query. what() is the detail for the client.
class BadQuery : public std::runtime_error {
 public:
  explicit BadQuery(const Error& error) : std::runtime_error(error.message) {}
  BadQuery(std::string_view name, const std::string& should)
      : std::runtime_error(std::string(name) + ": " + should) {}
};

inline constexpr char kBadEscapes[] = "a '%' must be followed by two hexadecimal digits";

/// The value of a parameter; empty if it is missing. Throws BadQuery.
std::string value_of(std::string_view query, std::string_view name);

/// Reads a whole number, if the parameter is there. `should` says what is allowed. Throws BadQuery.
template <typename T>
void read_number(std::string_view query, std::string_view name, const std::string& should,
                 T& number) {
  const std::string text = value_of(query, name);
  if (text.empty()) return;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || stop != text.data() + text.size()) throw BadQuery(name, should);
}

/// The parameter `limit`: 1 to `max`, `fallback` if it is missing. Throws BadQuery.
std::size_t limit_of(std::string_view query, std::size_t fallback, std::size_t max);

/// A user id; empty if the parameter is missing. Throws BadQuery.
std::string user_of(std::string_view query, std::string_view name);

/// Throws BadQuery for a parameter that is not in `known`, the last of which is the token of the
/// caller. An ignored parameter, such as a misspelt filter, would return more than requested.
void refuse_unknown(std::string_view query, std::span<const std::string_view> known);

}  // namespace waystation
