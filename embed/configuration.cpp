#include "embed/configuration.hpp"

#include <unistd.h>

#include <toml++/toml.h>
#include <waystation/waystation.h>

#include <algorithm>
#include <set>
#include <utility>

#include "embed/addresses.hpp"
#include "embed/configuration_file.hpp"
#include "embed/relay_options.hpp"

namespace waystation::server {
namespace {

std::string one_line(std::string_view text) {
  std::string line{text};
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return line;
}

/// The value in a line `key = value` of a file whose lines begin at 1, as it is written there. For
/// numbers, dates and times, which contain no `#`.
std::string written_value(std::string_view file, toml::source_index line) {
  constexpr std::size_t kMaxShown = 40;
  for (; line > 1; --line) file.remove_prefix(std::min(file.find('\n') + 1, file.size()));
  file = file.substr(0, file.find_first_of("\n#"));
  file.remove_prefix(std::min(file.find('=') + 1, file.size()));
  file.remove_prefix(std::min(file.find_first_not_of(" \t"), file.size()));
  file = file.substr(0, file.find_last_not_of(" \t\r") + 1);
  return one_line(file.substr(0, kMaxShown)) + (file.size() > kMaxShown ? "…" : "");
}

/// The value of a key in a line of a file, or how to show a value of another type.
std::variant<Value, std::string> from_toml(const toml::node& node, std::string_view file,
                                           toml::source_index line) {
  if (const auto* text = node.as_string()) return Value{text->get()};
  if (const auto* flag = node.as_boolean()) return Value{flag->get()};
  if (const auto* number = node.as_integer()) {
    if (number->get() < 0) return std::to_string(number->get());
    return Value{static_cast<std::uint64_t>(number->get())};
  }
  if (const auto* array = node.as_array()) {
    std::vector<std::string> entries;
    for (const auto& entry : *array) {
      const auto* text = entry.as_string();
      if (!text) return std::string{"a list with other entries"};
      entries.push_back(text->get());
    }
    return Value{entries};
  }
  return node.is_table() ? std::string{"a table"} : written_value(file, line);
}

/// Applies a value from `where`, or adds a mistake.
void set(Configuration& configuration, const Option& option, const std::string& where,
         std::optional<Value> value, const std::string& shown) {
  configuration.origins[option.key] = where;
  configuration.lines.erase(option.key);     // of the file, which this source overrides
  configuration.mistakes.erase(option.key);  // this source overrides the one with the mistake
  const auto mistakes =
      value ? mistakes_in(option, *value) : std::vector<std::string>{wrong_type(option, shown)};
  for (const auto& mistake : mistakes) configuration.add_mistake(option.key, mistake);
  if (mistakes.empty()) configuration.settings.set(option, std::move(*value));
}

void load_file(const std::string& path, Configuration& configuration) {
  const auto text = read_configuration_file(path);
  bound_nesting(text, path);
  toml::table table;
  try {
    table = toml::parse(text, path);
  } catch (const toml::parse_error& error) {
    throw ConfigurationError{path + ":" + std::to_string(error.source().begin.line) +
                             ": not TOML: " + one_line(error.description()) +
                             "; allowed: each key once, as KEY = VALUE, texts in quotes: "
                             "auth = \"jwt\""};
  }
  for (const auto& [key, node] : table) {
    // Use the key's position: toml++ does not record a position for every array.
    const std::size_t line = key.source().begin.line;
    const auto where = path + ":" + std::to_string(line);
    const auto* option = find_option(key.str());
    if (!option) {
      const auto nearest = nearest_key(key.str());
      configuration.lines[where] = line;
      configuration.mistakes.emplace(
          where, where + ": " + quoted(key.str()) + " is not an option" +
                     (nearest.empty() ? "; `waystation config show` lists the options"
                                      : "; did you mean " + std::string{nearest} + "?"));
      continue;
    }
    auto value = from_toml(node, text, key.source().begin.line);
    if (auto* good = std::get_if<Value>(&value)) {
      set(configuration, *option, where, std::move(*good), {});
    } else {
      set(configuration, *option, where, std::nullopt, std::get<std::string>(value));
    }
    configuration.lines[option->key] = line;
  }
}

void load_environment(const std::map<std::string, std::string>& environment,
                      Configuration& configuration) {
  std::set<std::string> known;
  for (const auto& option : all_options()) {
    const auto name = option.environment();
    known.insert(name);
    const auto found = environment.find(name);
    if (found == environment.end()) continue;
    set(configuration, option, name, parse_value(option, found->second), quoted(found->second));
  }
  // Only a warning: another program may use the variable. Report probable misspellings.
  for (const auto& [name, value] : environment) {
    if (known.contains(name)) continue;
    std::string key = name.substr(std::string_view{"WAYSTATION_"}.size());
    std::ranges::transform(key, key.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (const auto nearest = nearest_key(key); !nearest.empty()) {
      configuration.warnings.push_back("the variable " + one_line(name) +
                                       " sets no option; did you mean " +
                                       find_option(nearest)->environment() + "?");
    }
  }
}

void load_flags(const std::map<std::string, std::vector<std::string>>& flags,
                Configuration& configuration) {
  for (const auto& [key, texts] : flags) {
    const auto& option = *find_option(key);
    const auto where = option.flag();
    if (option.type != Option::Type::list && texts.size() > 1) {
      configuration.mistakes.emplace(
          key, where + ": given " + std::to_string(texts.size()) + " times; allowed: once");
      continue;
    }
    auto value = parse_value(option, texts.front());
    for (std::size_t i = 1; i < texts.size(); ++i) {
      auto more = std::get<std::vector<std::string>>(*parse_value(option, texts[i]));
      std::ranges::move(more, std::back_inserter(std::get<std::vector<std::string>>(*value)));
    }
    set(configuration, option, where, std::move(value), quoted(texts.front()));
  }
}

void check_listeners(Configuration& configuration) {
  const auto& settings = configuration.settings;
  const auto& allowed = find_option("listen")->allowed;
  if (settings.list("listen").empty()) {
    return configuration.add_mistake("listen", "listen = []: no address; allowed: " + allowed);
  }
  std::set<std::string> seen;
  for (const auto& text : settings.list("listen")) {
    const auto listener = *parse_listen_address(text);
    if (listener.port != 0 && !seen.insert(listener.text()).second) {
      configuration.add_mistake(
          "listen", "listen = " + quoted(text) + ": listed twice; allowed: each address once");
    }
    if (settings.text("auth") == "open" && !settings.flag("allow_open_network") &&
        !listener.is_loopback()) {
      configuration.add_mistake(
          "listen", "listen = " + quoted(text) +
                        ": auth = \"open\" has no authentication; allowed: a loopback address "
                        "(127.0.0.1, ::1), or set auth = \"jwt\" or \"header\" "
                        "(allow_open_network = true: anyone can be any user)");
    }
  }
}

/// A key in place of the path of its file. Its text must not reach the log.
void check_pasted_key(Configuration& configuration) {
  const auto& text = configuration.settings.text("tls_key");
  if (text.find("-----BEGIN") == std::string::npos) return;
  configuration.add_mistake("tls_key",
                            "tls_key = (withheld: it looks like a key): not a path; "
                            "allowed: " +
                                find_option("tls_key")->allowed);
}

/// Whether users are named by proxies, and there is none.
bool names_no_proxy(const Settings& settings) {
  return settings.text("auth") == "header" && settings.list("trusted_proxies").empty();
}

/// The errors and warnings of the library's check.
struct Findings {
  Configuration& configuration;
  // An option with a mistake has its default here, so the library's result does not apply.
  std::set<std::string> unread;
  std::vector<std::string> warnings;
};

int on_finding(void* into, waystation_log_level severity, const waystation_error* problem) {
  auto& findings = *static_cast<Findings*>(into);
  if (findings.unread.contains(problem->option)) return 1;
  if (severity == WAYSTATION_LOG_ERROR) {
    findings.configuration.add_mistake(problem->option, one_line(problem->message));
  } else {
    findings.warnings.push_back(one_line(problem->message) + " (" +
                                findings.configuration.origin(problem->option) + ")");
  }
  return 1;
}

/// Wraps sentences into comment lines.
std::string as_comment(std::string_view text) {
  constexpr std::size_t kWidth = 96;
  std::string out;
  while (!text.empty()) {
    auto length = text.size() <= kWidth ? text.size() : text.rfind(' ', kWidth);
    if (length == std::string_view::npos) length = text.size();
    out.append("# ").append(text.substr(0, length)).append("\n");
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return out;
}

}  // namespace

std::string Configuration::origin(std::string_view key) const {
  const auto found = origins.find(key);
  return found == origins.end() ? "default" : found->second;
}

std::map<std::string, std::string> waystation_environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view text{*entry};
    const auto equals = text.find('=');
    if (!text.starts_with("WAYSTATION_") || equals == std::string_view::npos) continue;
    variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

void Configuration::add_mistake(std::string_view key, std::string_view line) {
  mistakes.emplace(std::string{key}, std::string{line} + " (" + one_line(origin(key)) + ")");
}

void Configuration::throw_mistakes() const {
  if (mistakes.empty()) return;
  enum class Place { file, option, none };
  std::multimap<std::pair<Place, std::size_t>, std::string> ordered;
  const auto options = all_options();
  for (const auto& [key, text] : mistakes) {
    const auto line = lines.find(key);
    const auto option = std::ranges::find(options, key, &Option::key);
    if (line != lines.end()) {
      ordered.emplace(std::pair{Place::file, line->second}, text);
    } else {
      const auto place = option != options.end() ? Place::option : Place::none;
      ordered.emplace(std::pair{place, option - options.begin()}, text);
    }
  }
  std::vector<std::string> texts;
  for (auto& [place, text] : ordered) texts.push_back(std::move(text));
  throw ConfigurationError{std::move(texts)};
}

Configuration read_configuration(const ConfigurationSources& sources) {
  Configuration configuration;
  for (const auto& line : sources.mistakes) configuration.mistakes.emplace("", line);
  try {
    if (sources.file) load_file(*sources.file, configuration);
  } catch (const ConfigurationError& error) {
    configuration.is_complete = false;
    for (const auto& line : error.lines()) configuration.mistakes.emplace("", line);
  }
  load_environment(sources.environment, configuration);
  load_flags(sources.flags, configuration);
  return configuration;
}

Configuration load_configuration(const ConfigurationSources& sources) {
  auto configuration = read_configuration(sources);
  configuration.throw_mistakes();
  return configuration;
}

std::vector<std::string> check_configuration(Configuration& configuration) {
  if (!configuration.is_complete) return {};
  Findings findings{configuration, {}, {}};
  for (const auto& [key, line] : configuration.mistakes) findings.unread.insert(key);
  if (!findings.unread.contains("listen")) check_listeners(configuration);
  if (!findings.unread.contains("tls_key")) check_pasted_key(configuration);
  if (!findings.unread.contains("trusted_proxies") && names_no_proxy(configuration.settings)) {
    // The library does not know whether a web server hands over connections.
    findings.unread.insert("trusted_proxies");
    if (configuration.settings.text("handover").empty()) {
      configuration.add_mistake("trusted_proxies",
                                "trusted_proxies = []: auth = \"header\" needs the proxies that "
                                "set identity_header, or a "
                                "web server that hands over connections (handover); allowed: " +
                                    find_option("trusted_proxies")->allowed);
    }
  }
  const LibraryOptions options{configuration.settings};
  waystation_options_check_all(options.get(), on_finding, &findings);
  return std::move(findings.warnings);
}

std::string show_configuration(const Configuration& configuration) {
  std::string out;
  std::string_view group;
  for (const auto& option : all_options()) {
    if (option.group != group) {
      out += "# ---- " + option.group + "\n\n";
      group = option.group;
    }
    out += as_comment(option.help);
    const bool has_range =
        option.type == Option::Type::number || option.type == Option::Type::choice;
    std::string more = has_range ? "Allowed: " + option.allowed : "";
    if (!option.unit.empty()) more += " " + option.unit;
    if (!more.empty()) more += ".";
    if (!option.is_live) more += more.empty() ? "Needs a restart." : " Needs a restart.";
    out += as_comment(more);
    // A wrong value of this option may be a key. The mistake says whether it may be shown.
    const auto mistake = configuration.mistakes.find(option.key);
    const bool may_be_key = option.key.ends_with("_key_file") || option.key == "tls_key";
    if (may_be_key && mistake != configuration.mistakes.end()) {
      out += as_comment(mistake->second) + "\n";
      continue;
    }
    out += option.key + " = " + to_shown_toml(option, configuration.settings.value(option)) +
           "  # " + one_line(configuration.origin(option.key)) + "\n\n";
  }
  out.pop_back();
  return out;
}

}  // namespace waystation::server
