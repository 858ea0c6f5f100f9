#include "embed/help_format.hpp"

#include <string_view>

namespace waystation::server {
namespace {

constexpr std::size_t kColumn = 34;  // where descriptions begin
constexpr std::size_t kWidth = 100;

/// Wraps a text into lines that fit to the right of the column.
std::string wrapped(const std::string& whole) {
  std::string_view text = whole;
  std::string out;
  while (text.size() > kWidth - kColumn) {
    const auto space = text.rfind(' ', kWidth - kColumn);
    if (space == std::string_view::npos) break;
    out.append(text.substr(0, space)).append("\n");
    text.remove_prefix(space + 1);
  }
  return out.append(text);
}

}  // namespace

HelpFormat::HelpFormat() {
  column_width(kColumn);
}

std::string HelpFormat::make_option_name(const CLI::Option* option, bool is_positional) const {
  if (is_positional) return Formatter::make_option_name(option, is_positional);
  std::string names;
  const auto add = [&](const std::string& name) { names += (names.empty() ? "" : ",") + name; };
  for (const auto& name : option->get_snames()) add("-" + name);
  for (const auto& name : option->get_lnames()) {
    // The parser also accepts the TOML key. Hide this duplicate in the help.
    if (name.find('_') == std::string::npos) add("--" + name);
  }
  return names;
}

std::string HelpFormat::make_option_opts(const CLI::Option* option) const {
  if (option->get_type_size() == 0) return {};  // --help and other switches
  return ' ' + option->get_type_name() + (option->get_required() ? " (required)" : "");
}

std::string HelpFormat::make_option_desc(const CLI::Option* option) const {
  const auto standard = option->get_default_str();
  return wrapped(option->get_description() +
                 (standard.empty() ? "" : " (default: " + standard + ")"));
}

}  // namespace waystation::server
