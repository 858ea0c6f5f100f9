#include "embed/configuration.hpp"

#include <unistd.h>

#include <toml++/toml.h>
#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "embed/addresses.hpp"

namespace waystation::server {
namespace {

/// The bytes that a message may gain on its way: the other keys of its frame, and the frame's
/// header.
constexpr std::uint64_t kEnvelopeBytes = 1024;

std::string one_line(std::string_view text) {
  std::string line{text};
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return line;
}

std::string read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  std::ostringstream text;
  // A folder opens and then cannot be read.
  if (!in || !(text << in.rdbuf()) || in.bad()) {
    // An empty file also fails to be copied, which is no error.
    if (in.is_open() && in.peek() == std::ifstream::traits_type::eof() && !in.bad() &&
        text.str().empty()) {
      return {};
    }
    throw ConfigurationError{"--config " + quoted(path) +
                             ": cannot be read; allowed is the path of a TOML file"};
  }
  return text.str();
}

Value from_toml(const Option& option, const toml::node& node, std::string_view where) {
  if (const auto* text = node.as_string()) {
    if (!option.is_list()) return text->get();
    throw not_allowed(option, quoted(text->get()), where);
  }
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* number = node.as_integer()) {
    if (number->get() < 0) throw not_allowed(option, std::to_string(number->get()), where);
    return static_cast<std::uint64_t>(number->get());
  }
  if (const auto* array = node.as_array()) {
    std::vector<std::string> entries;
    for (const auto& entry : *array) {
      const auto* text = entry.as_string();
      if (!text) throw not_allowed(option, "a list of other things than texts", where);
      entries.push_back(text->get());
    }
    return entries;
  }
  std::ostringstream kind;
  kind << "a " << node.type();
  throw not_allowed(option, kind.str(), where);
}

void load_file(const std::string& path, Configuration& configuration) {
  toml::table table;
  try {
    table = toml::parse(read_file(path), path);
  } catch (const toml::parse_error& error) {
    throw ConfigurationError{path + ":" + std::to_string(error.source().begin.line) +
                             ": not TOML: " + one_line(error.description())};
  }
  for (const auto& [key, node] : table) {
    // toml++ gives an array no place of its own in some cases; its key has one.
    const auto line = key.source().begin.line;
    const auto where = path + ":" + std::to_string(line);
    const auto* option = find_option(key.str());
    if (!option) {
      const auto nearest = nearest_key(key.str());
      throw ConfigurationError{where + ": " + quoted(key.str()) + " is no option" +
                               (nearest.empty() ? "; `waystation config show` lists those there are"
                                                : "; did you mean " + std::string{nearest} + "?")};
    }
    assign(*option, from_toml(*option, node, where), where, configuration.settings);
    configuration.origins[std::string{option->key}] = where;
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
    assign(option, parse_value(option, found->second, name), name, configuration.settings);
    configuration.origins[std::string{option.key}] = name;
  }
  // Not an error: a variable may be there for someone else. A misspelt one should be seen, though.
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
    if (!option.is_list() && texts.size() > 1) {
      throw ConfigurationError{where + ": given " + std::to_string(texts.size()) +
                               " times; allowed is once"};
    }
    Value value = parse_value(option, texts.front(), where);
    for (std::size_t i = 1; i < texts.size(); ++i) {
      auto more = std::get<std::vector<std::string>>(parse_value(option, texts[i], where));
      auto& list = std::get<std::vector<std::string>>(value);
      std::ranges::move(more, std::back_inserter(list));
    }
    assign(option, std::move(value), where, configuration.settings);
    configuration.origins[key] = where;
  }
}

/// The line for a value that is legal by itself and not together with another.
ConfigurationError conflict(const Configuration& configuration, std::string_view key,
                            std::string_view value, std::string_view allowed) {
  return ConfigurationError{std::string{key} + " = " + std::string{value} + " (" +
                            configuration.origin(key) + "): allowed is " + std::string{allowed}};
}

void check_listeners(const Configuration& configuration) {
  const auto& settings = configuration.settings;
  if (settings.listen.empty()) {
    throw conflict(configuration, "listen", "[]",
                   "at least one address and port, such as 127.0.0.1:8080");
  }
  std::set<std::string> seen;
  for (const auto& text : settings.listen) {
    const auto listener = *parse_listen_address(text);
    if (listener.port != 0 && !seen.insert(listener.text()).second) {
      throw conflict(configuration, "listen", quoted(text), "each address and port once");
    }
    if (settings.auth == "open" && !settings.allow_open_network && !listener.is_loopback()) {
      throw conflict(configuration, "listen", quoted(text),
                     "a loopback address (127.0.0.1, ::1) while auth is \"open\", where anyone "
                     "can be anyone; or set allow_open_network = true");
    }
  }
}

void check_identity(const Configuration& configuration) {
  const auto& settings = configuration.settings;
  for (const auto& block : settings.trusted_proxies) {
    if (is_everybody(block)) {
      throw conflict(configuration, "trusted_proxies", quoted(block),
                     "the addresses of your own proxies: this one trusts everybody, who could "
                     "then claim any address and any name");
    }
  }
  if (settings.auth == "header" && settings.trusted_proxies.empty()) {
    throw conflict(configuration, "auth", "\"header\"",
                   "open or jwt while trusted_proxies is empty: nobody's header would be believed");
  }
  if (settings.auth == "jwt" && settings.jwt_key_file.empty()) {
    throw ConfigurationError{"auth = \"jwt\" (" + configuration.origin("auth") +
                             "): it needs jwt_key_file (--jwt-key-file FILE), the file with the "
                             "keys that tokens are signed with; allowed without one is open or "
                             "header"};
  }
  if (!settings.jwt_key_file.empty() && access(settings.jwt_key_file.c_str(), R_OK) != 0) {
    throw conflict(configuration, "jwt_key_file", quoted(settings.jwt_key_file),
                   "the path of a file that this user can read");
  }
}

void check_queues(const Configuration& configuration) {
  const auto& settings = configuration.settings;
  const auto least = settings.max_message_bytes + kEnvelopeBytes;
  if (settings.max_queue_bytes < least) {
    throw conflict(configuration, "max_queue_bytes", std::to_string(settings.max_queue_bytes),
                   "at least " + std::to_string(least) +
                       ", so that one message of max_message_bytes fits with its envelope");
  }
  if (settings.max_total_queue_bytes < settings.max_queue_bytes) {
    throw conflict(configuration, "max_total_queue_bytes",
                   std::to_string(settings.max_total_queue_bytes),
                   "at least max_queue_bytes, " + std::to_string(settings.max_queue_bytes));
  }
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

Configuration load_configuration(const ConfigurationSources& sources) {
  Configuration configuration;
  if (sources.file) load_file(*sources.file, configuration);
  load_environment(sources.environment, configuration);
  load_flags(sources.flags, configuration);
  check_configuration(configuration);
  return configuration;
}

void check_configuration(Configuration& configuration) {
  check_listeners(configuration);
  check_identity(configuration);
  check_queues(configuration);
}

std::string show_configuration(const Configuration& configuration) {
  std::string out;
  for (const auto& option : all_options()) {
    out += "# " + std::string{option.doc} + "\n" + std::string{option.key} + " = " +
           to_toml(value_of(option, configuration.settings)) + "  # " +
           one_line(configuration.origin(option.key)) + "\n\n";
  }
  out.pop_back();
  return out;
}

std::string with_origin(const Configuration& configuration, std::string_view line) {
  // The longest key wins: max_connections also stands in max_connections_per_user.
  std::string_view named;
  for (const auto& option : all_options()) {
    if (option.key.size() > named.size() && line.find(option.key) != std::string_view::npos) {
      named = option.key;
    }
  }
  auto out = one_line(line);
  if (!named.empty()) out += " (" + std::string{named} + ": " + configuration.origin(named) + ")";
  return out;
}

}  // namespace waystation::server
