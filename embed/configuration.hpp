// The settings and their sources. A flag overrides a variable, a variable the file, the file the
// default.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "embed/options.hpp"

namespace waystation::server {

/// The sources, not yet read. Kept, so that SIGHUP can read the file again.
struct ConfigurationSources {
  std::optional<std::string> file;                        // --config
  std::map<std::string, std::string> environment;         // variables named WAYSTATION_*
  std::map<std::string, std::vector<std::string>> flags;  // by key, every value given
  std::vector<std::string> mistakes = {};  // in the arguments themselves, such as an unknown flag
};

struct Configuration {
  Settings settings;
  std::map<std::string, std::string, std::less<>> origins;  // by key: "--www", "site.toml:3", …
  // Lines of the file: of each value that comes from it, by key, and of unknown keys, by location.
  std::map<std::string, std::size_t, std::less<>> lines;
  // By key, or by location if there is no such option. Each line ends with the value's source.
  std::multimap<std::string, std::string> mistakes;
  std::vector<std::string> warnings;  // allowed, but probably a mistake
  bool is_complete = true;            // false: the file could not be read, a mistake

  /// Where an option's value comes from. "default" if no source sets it.
  std::string origin(std::string_view key) const;

  void add_mistake(std::string_view key, std::string_view line);
  /// Throws ConfigurationError with all mistakes if there is at least one. First those in the lines
  /// of the file, in their order, then those of other options in the order of the options, then
  /// those without an option.
  void throw_mistakes() const;
};

/// The variables of this process named WAYSTATION_*.
std::map<std::string, std::string> waystation_environment();

/// Reads all sources. An option with a mistake keeps its default. A file that cannot be read or is
/// not TOML is one mistake among the others.
Configuration read_configuration(const ConfigurationSources& sources);

/// As read_configuration(), but throws all mistakes.
Configuration load_configuration(const ConfigurationSources& sources);

/// Runs every check that needs no start, including the library's, and adds the mistakes it finds.
/// Without the file's values it checks nothing: the defaults in their place would be the mistakes.
/// Returns the library's warnings, which a relay also logs when it starts.
std::vector<std::string> check_configuration(Configuration& configuration);

/// The effective settings as a TOML file, each with its help text and its source. Call
/// check_configuration() first: a mistake in jwt_key_file or tls_key
/// replaces its value.
std::string show_configuration(const Configuration& configuration);

}  // namespace waystation::server
