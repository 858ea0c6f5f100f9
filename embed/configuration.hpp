// Settings from all their sources: flag over environment over file over default.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "embed/options.hpp"

namespace waystation::server {

/// What the sources say, as they stand. Kept, so that a SIGHUP can read the file again.
struct ConfigurationSources {
  std::optional<std::string> file;                        // --config
  std::map<std::string, std::string> environment;         // variables that begin WAYSTATION_
  std::map<std::string, std::vector<std::string>> flags;  // by key, each as often as given
};

struct Configuration {
  Settings settings;
  std::map<std::string, std::string, std::less<>> origins;  // by key: "--www", "site.toml:3", …
  std::vector<std::string> warnings;                        // legal, and probably a mistake

  /// Where an option's value comes from; "default" where nobody set it.
  std::string origin(std::string_view key) const;
};

/// The variables of this process that begin WAYSTATION_.
std::map<std::string, std::string> waystation_environment();

/// Reads and checks everything that can be known without starting. Throws ConfigurationError.
Configuration load_configuration(const ConfigurationSources& sources);

/// Checks what options mean together, as load_configuration does. Throws ConfigurationError; what
/// is legal and odd is added to the warnings.
void check_configuration(Configuration& configuration);

/// The effective settings as a TOML file, each with where it comes from.
std::string show_configuration(const Configuration& configuration);

/// Adds to a line of the library's, which names a key, where that key was set.
std::string with_origin(const Configuration& configuration, std::string_view line);

}  // namespace waystation::server
