// Settings from all their sources: flag over variable over file over default.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "embed/options.hpp"

namespace waystation::server {

/// The sources as they stand. Kept, so that a SIGHUP can read the file again.
struct ConfigurationSources {
  std::optional<std::string> file;                        // --config
  std::map<std::string, std::string> environment;         // variables that begin WAYSTATION_
  std::map<std::string, std::vector<std::string>> flags;  // by key, each as often as given
};

struct Configuration {
  Settings settings;
  std::map<std::string, std::string, std::less<>> origins;  // by key: "--www", "site.toml:3", …
  // By key, or by place where there is no such option; each a line that ends with where it was set.
  std::multimap<std::string, std::string> mistakes;
  std::vector<std::string> warnings;  // allowed, but probably a mistake

  /// Where an option's value comes from; "default" where nobody set it.
  std::string origin(std::string_view key) const;

  /// Adds a mistake in an option.
  void add_mistake(std::string_view key, std::string_view line);
  /// Throws ConfigurationError with all mistakes, if there are any.
  void throw_mistakes() const;
};

/// The variables of this process that begin WAYSTATION_.
std::map<std::string, std::string> waystation_environment();

/// Reads all sources. An option with a mistake in it keeps its default. Throws ConfigurationError
/// where the file cannot be read or is not TOML.
Configuration read_configuration(const ConfigurationSources& sources);

/// The same, and throws all mistakes.
Configuration load_configuration(const ConfigurationSources& sources);

/// Checks everything that can be known without starting, down to what the library would refuse, and
/// adds it to the mistakes. Returns the library's warnings, which a relay logs by itself.
std::vector<std::string> check_configuration(Configuration& configuration);

/// The effective settings as a TOML file, each with its help and where it comes from. Call
/// check_configuration() first: a mistake in jwt_key_file stands in place of its value.
std::string show_configuration(const Configuration& configuration);

}  // namespace waystation::server
