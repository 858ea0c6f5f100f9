#include "embed/configuration_file.hpp"

#include <algorithm>
#include <utility>
#include <variant>

#include "embed/options.hpp"
#include "embed/small_file.hpp"

namespace waystation::server {
namespace {

/// Takes a string of TOML, which begins with its quote, off the front of `rest`. Returns the number
/// of line ends in it.
std::size_t skip_string(std::string_view& rest) noexcept {
  const char quote = rest.front();
  const auto quotes = std::min(rest.find_first_not_of(quote), rest.size());
  if (quotes == 2) {  // an empty string
    rest.remove_prefix(2);
    return 0;
  }
  const bool is_multi_line = quotes >= 3;
  std::size_t lines = 0;
  rest.remove_prefix(is_multi_line ? 3 : 1);
  while (!rest.empty()) {
    const char c = rest.front();
    if (c == '\n' && !is_multi_line) return lines;  // a syntax error
    if (c == quote) {
      // Up to two quotes may stand before the three that end a string of several lines.
      const auto run = std::min(rest.find_first_not_of(quote), rest.size());
      const bool is_end = !is_multi_line || run >= 3;
      rest.remove_prefix(is_multi_line ? std::min<std::size_t>(run, 5) : 1);
      if (is_end) return lines;
      continue;
    }
    const bool is_escape = c == '\\' && quote == '"' && rest.size() > 1 && rest[1] != '\n';
    if (c == '\n') ++lines;
    rest.remove_prefix(is_escape ? 2 : 1);
  }
  return lines;
}

}  // namespace

std::string read_configuration_file(const std::string& path) {
  auto file = read_small_file(path);
  if (const auto* problem = std::get_if<std::string>(&file)) {
    throw ConfigurationError{"--config " + quoted(std::string_view{path}) + ": " + *problem +
                             "; allowed: the path of a TOML file, a regular file of at most 1 MiB"};
  }
  return std::get<SmallFile>(std::move(file)).text;
}

void bound_nesting(std::string_view toml, const std::string& path) {
  std::size_t line = 1;
  std::size_t dots = 0;  // since the last character that cannot stand in a key
  std::size_t levels = 0;
  const auto refuse_line = [&](const std::string& problem) {
    throw ConfigurationError{path + ":" + std::to_string(line) + ": " + problem};
  };
  while (!toml.empty()) {
    const char c = toml.front();
    if (c == '"' || c == '\'') {
      line += skip_string(toml);
      continue;
    }
    if (c == '#') {
      toml.remove_prefix(std::min(toml.find('\n'), toml.size()));
      continue;
    }
    const bool opens = c == '[' || c == '{';
    if (c == '.' && ++dots == kMaxKeyParts) {
      refuse_line("a key has too many parts; allowed: at most " + std::to_string(kMaxKeyParts));
    }
    if (opens && ++levels > kMaxNesting) {
      refuse_line("nested too deeply; allowed: at most " + std::to_string(kMaxNesting) + " levels");
    }
    if ((c == ']' || c == '}') && levels != 0) --levels;
    if (opens || c == '\n' || c == '=' || c == ',') dots = 0;
    if (c == '\n') ++line;
    toml.remove_prefix(1);
  }
}

}  // namespace waystation::server
