#include "embed/options.hpp"

#include <waystation/waystation.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <numeric>
#include <utility>

#include "embed/addresses.hpp"
#include "embed/door.hpp"
#include "embed/installation.hpp"
#include "embed/utf8.hpp"

namespace waystation::server {
namespace {

/// The library option that only the server's code sets.
constexpr std::string_view kDescriptorReserve = "descriptor_reserve";
/// The choice that needs a callback of the host application.
constexpr std::string_view kCallback = "callback";

std::string listed(const std::vector<std::string>& choices) {
  std::string text;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ") + choices[i];
  }
  return text;
}

Option of_library(const waystation_option_info& info) {
  Option option{.key = info.name,
                .group = info.group,
                .help = info.help,
                .allowed = info.allowed,
                .type = Option::Type::text,
                .standard = std::string{info.default_text},
                .is_live = info.is_live != 0,
                .holds_passwords = std::string_view{info.name} == "cluster",
                .info = &info};
  switch (info.type) {
    case WAYSTATION_OPTION_BOOLEAN:
      option.type = Option::Type::boolean;
      option.standard = info.default_number != 0;
      break;
    case WAYSTATION_OPTION_NUMBER:
      option.type = Option::Type::number;
      option.standard = info.default_number;
      option.unit = info.unit;
      option.minimum = info.minimum;
      option.maximum = info.maximum;
      option.zero_allowed = info.zero_allowed != 0;
      break;
    case WAYSTATION_OPTION_CHOICE:
      option.type = Option::Type::choice;
      option.standard = std::string{info.choices[info.default_number]};
      for (const auto* choice = info.choices; *choice != nullptr; ++choice) {
        if (*choice != kCallback) option.choices.emplace_back(*choice);
      }
      option.allowed = listed(option.choices);
      break;
    case WAYSTATION_OPTION_LIST:
      option.type = Option::Type::list;
      option.standard = *parse_value(option, info.default_text);
      break;
    default:
      break;
  }
  return option;
}

/// The library's rows. Their addresses do not change.
const std::vector<waystation_option_info>& library_rows() {
  static const auto rows = [] {
    std::vector<waystation_option_info> all(waystation_option_count());
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i].size = sizeof all[i];
      waystation_option_at(i, &all[i]);
    }
    return all;
  }();
  return rows;
}

std::vector<Option> make_options() {
  std::vector<Option> options;
  options.push_back(
      {.key = "listen",
       .group = "server",
       .help = "Addresses to listen on, ADDRESS:PORT or [V6ADDRESS]:PORT. Port 0: any free port. "
               "https:// in front of an address: TLS, with tls_certificate and tls_key.",
       .allowed = "numeric addresses with a port, such as 127.0.0.1:8080, [::1]:8080 or "
                  "https://0.0.0.0:8443",
       .type = Option::Type::list,
       .standard = std::vector<std::string>{"127.0.0.1:8080"},
       .is_live = false,
       .entry_problem = listen_address_problem});
  options.push_back(
      {.key = "tls_certificate",
       .group = "server",
       .help = "PEM file with the certificate for https:// addresses, then its intermediates. "
               "SIGHUP reads it again.",
       .allowed = "the path of a PEM file",
       .type = Option::Type::text,
       .standard = std::string{}});
  options.push_back({.key = "tls_key",
                     .group = "server",
                     .help = "PEM file with the private key of tls_certificate, not readable by "
                             "other users. SIGHUP reads it again.",
                     .allowed = "the path of a PEM file",
                     .type = Option::Type::text,
                     .standard = std::string{}});
  options.push_back(
      {.key = "tls_hsts_seconds",
       .group = "server",
       .help =
           "Seconds for which browsers use this host over TLS only (Strict-Transport-Security), "
           "sent with the page over TLS. 0: not sent.",
       .allowed = "0 to 315360000",
       .type = Option::Type::number,
       .standard = std::uint64_t{0},
       .unit = "seconds",
       .maximum = 315360000});
  options.push_back({.key = "www",
                     .group = "server",
                     .help = "Folder of static files to serve, the page. Empty: no page.",
                     .allowed = "the path of a folder",
                     .type = Option::Type::text,
                     .standard = installed_www()});
  options.push_back({.key = "handover",
                     .group = "server",
                     .help =
                         "Socket through which nginx hands over connections: the path of a unix "
                         "socket, or fd:NAME for one from systemd. Empty: none.",
                     .allowed = std::string{kDoorAddresses},
                     .type = Option::Type::text,
                     .standard = std::string{},
                     .is_live = false,
                     .entry_problem = door_address_problem});
  options.push_back({.key = "handover_group",
                     .group = "server",
                     .help = "Group that may use the socket of handover, such as www-data; its "
                             "members can name any user. Empty: the group of the server.",
                     .allowed = "the name of a group of this machine",
                     .type = Option::Type::text,
                     .standard = std::string{},
                     .is_live = false});
  for (const auto& row : library_rows()) {
    if (row.name != kDescriptorReserve) options.push_back(of_library(row));
  }
  options.push_back({.key = "log_format",
                     .group = "operation",
                     .help = "Format of the log on standard error, one line per event.",
                     .allowed = "text or json",
                     .type = Option::Type::choice,
                     .standard = std::string{"text"},
                     .choices = {"text", "json"}});
  return options;
}

/// The edit distance of two words.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const auto above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0U : 1U)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> entries;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto entry = trimmed(text.substr(0, comma));
    if (!entry.empty()) entries.emplace_back(entry);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return entries;
}

std::string toml_string(std::string_view text) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::string out = "\"";
  while (!text.empty()) {
    const auto length = utf8_length(text);
    const char c = text.front();
    if (length == 0) {
      out += kReplacement;  // TOML files and terminals are UTF-8
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04X", static_cast<unsigned>(c));
      out += escape.data();
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out + '"';
}

/// An address without user and password, wherever a mistake in it is.
std::string without_login(const Option& option, std::string_view entry) {
  const auto at = option.holds_passwords ? entry.rfind('@') : std::string_view::npos;
  if (at == std::string_view::npos) return std::string{entry};
  const auto scheme = entry.find("://");
  const auto login = scheme == std::string_view::npos || scheme > at ? 0 : scheme + 3;
  return std::string{entry.substr(0, login)} + ":***" + std::string{entry.substr(at)};
}

std::string line(const Option& option, std::string_view value, std::string_view problem) {
  return option.key + " = " + std::string{value} + ": " + std::string{problem} +
         "; allowed: " + option.allowed;
}

/// Whether a value, as it is shown, is an integer that is negative or exceeds 64 bits.
bool is_integer_out_of_range(std::string_view shown) {
  if (shown.size() >= 2 && shown.starts_with('"')) shown = shown.substr(1, shown.size() - 2);
  const bool is_negative = shown.starts_with('-');
  if (is_negative) shown.remove_prefix(1);
  if (shown.empty() || shown.find_first_not_of("0123456789") != std::string_view::npos)
    return false;
  std::uint64_t number = 0;
  const auto [stop, error] = std::from_chars(shown.data(), shown.data() + shown.size(), number);
  return is_negative || error == std::errc::result_out_of_range;
}

/// What is wrong with any text value, or empty. The library would truncate a text at a NUL, and a
/// TOML file cannot hold invalid UTF-8.
std::string_view problem_of_text(std::string_view text) {
  if (!is_utf8(text)) return "not UTF-8";
  return text.find('\0') != std::string_view::npos ? "a NUL character in it" : std::string_view{};
}

}  // namespace

ConfigurationError::ConfigurationError(std::vector<std::string> lines)
    : std::runtime_error(std::accumulate(
          std::next(lines.begin()), lines.end(), lines.front(),
          [](const std::string& all, const std::string& next) { return all + "\n" + next; })),
      lines_(std::move(lines)) {}

std::string Option::flag() const {
  std::string name = "--" + key;
  std::ranges::replace(name, '_', '-');
  return name;
}

std::string Option::environment() const {
  std::string name = "WAYSTATION_";
  for (const char c : key) name += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return name;
}

std::span<const Option> all_options() {
  static const auto options = make_options();
  return options;
}

const Option* find_option(std::string_view key) {
  const auto options = all_options();
  const auto found = std::ranges::find(options, key, &Option::key);
  return found == options.end() ? nullptr : &*found;
}

std::string_view nearest_key(std::string_view key) {
  std::string_view nearest;
  // A distance of more than a third of the letters is not a misspelling.
  auto least = std::max<std::size_t>(key.size() / 3, 2) + 1;
  for (const auto& option : all_options()) {
    const auto edits = distance(key, option.key);
    if (edits < least) {
      least = edits;
      nearest = option.key;
    }
  }
  return nearest;
}

Settings::Settings() {
  for (const auto& option : all_options()) values_.push_back(option.standard);
}

const Value& Settings::value(const Option& option) const {
  return values_.at(static_cast<std::size_t>(&option - all_options().data()));
}

void Settings::set(const Option& option, Value value) {
  values_.at(static_cast<std::size_t>(&option - all_options().data())) = std::move(value);
}

bool Settings::flag(std::string_view key) const {
  return std::get<bool>(value(*find_option(key)));
}

std::uint64_t Settings::number(std::string_view key) const {
  return std::get<std::uint64_t>(value(*find_option(key)));
}

const std::string& Settings::text(std::string_view key) const {
  return std::get<std::string>(value(*find_option(key)));
}

const std::vector<std::string>& Settings::list(std::string_view key) const {
  return std::get<std::vector<std::string>>(value(*find_option(key)));
}

std::string quoted(std::string_view text) {
  constexpr std::size_t kLongest = 120;
  const auto shown = toml_string(text.substr(0, kLongest));
  return text.size() > kLongest ? shown + "..." : shown;
}

std::optional<Value> parse_value(const Option& option, std::string_view text) {
  switch (option.type) {
    case Option::Type::boolean:
      if (text == "true" || text == "1") return true;
      if (text == "false" || text == "0") return false;
      return std::nullopt;
    case Option::Type::number: {
      std::uint64_t number = 0;
      const auto* const end = text.data() + text.size();
      const auto [stop, error] = std::from_chars(text.data(), end, number);
      if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
      return number;
    }
    case Option::Type::list:
      return split(text);
    default:
      return std::string{text};
  }
}

std::string wrong_type(const Option& option, std::string_view value) {
  switch (option.type) {
    case Option::Type::boolean:
      return line(option, value, "not a boolean");
    case Option::Type::number:
      return line(option, value,
                  is_integer_out_of_range(value) ? "out of range" : "not a whole number");
    case Option::Type::list:
      if (value.starts_with('"')) {  // a text
        return option.key + " = " + std::string{value} + ": not a list; write " + option.key +
               " = [" + std::string{value} + "]";
      }
      return line(option, value, "not a list of texts");
    default:
      return line(option, value, "not a text");
  }
}

std::vector<std::string> mistakes_in(const Option& option, const Value& value) {
  if (value.index() != option.standard.index())
    return {wrong_type(option, to_shown_toml(option, value))};
  if (const auto* number = std::get_if<std::uint64_t>(&value)) {
    const bool is_good = (*number == 0 && option.zero_allowed) ||
                         (*number >= option.minimum && *number <= option.maximum);
    if (!is_good) return {line(option, std::to_string(*number), "out of range")};
  }
  if (const auto* text = std::get_if<std::string>(&value)) {
    std::string_view problem = problem_of_text(*text);
    const bool is_good = option.type != Option::Type::choice ||
                         std::ranges::find(option.choices, *text) != option.choices.end();
    if (problem.empty() && !is_good) problem = "unknown value";
    std::string own_problem;
    if (problem.empty() && option.entry_problem != nullptr) {
      problem = own_problem = option.entry_problem(*text);
    }
    if (!problem.empty()) return {line(option, quoted(std::string_view{*text}), problem)};
  }
  std::vector<std::string> mistakes;
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    for (const auto& entry : *list) {
      std::string problem{problem_of_text(entry)};
      if (problem.empty() && entry.empty()) problem = "an empty entry";
      if (problem.empty() && !option.holds_passwords && entry.find(',') != std::string::npos) {
        problem = "a comma in an entry";
      }
      if (problem.empty() && option.entry_problem != nullptr) problem = option.entry_problem(entry);
      if (problem.empty()) continue;
      mistakes.push_back(line(option, quoted(without_login(option, entry)), problem));
    }
  }
  return mistakes;
}

std::string to_shown_toml(const Option& option, const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    return to_toml(without_login(option, *text));
  }
  const auto* const list = std::get_if<std::vector<std::string>>(&value);
  if (!list || !option.holds_passwords) return to_toml(value);
  // A flag's value was divided at each comma, also at those inside of an address.
  std::vector<std::string> addresses;
  for (const auto& entry : *list) {
    if (addresses.empty() || entry.find("://") != std::string::npos) {
      addresses.push_back(entry);
    } else {
      addresses.back() += "," + entry;
    }
  }
  for (auto& address : addresses) address = without_login(option, address);
  return to_toml(addresses);
}

std::string to_toml(const Value& value) {
  return std::visit(
      []<typename T>(const T& v) -> std::string {
        if constexpr (std::is_same_v<T, bool>) {
          return v ? "true" : "false";
        } else if constexpr (std::is_same_v<T, std::uint64_t>) {
          return std::to_string(v);
        } else if constexpr (std::is_same_v<T, std::string>) {
          return toml_string(v);
        } else {
          std::string out = "[";
          for (const auto& entry : v) out += (out.size() > 1 ? ", " : "") + toml_string(entry);
          return out + "]";
        }
      },
      value);
}

}  // namespace waystation::server
