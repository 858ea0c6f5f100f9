// The table of options as flags of a command.
#pragma once

#include <CLI/CLI.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "embed/configuration.hpp"

namespace waystation::server {

/// What --config and the flags of one command collect. Must stay where it is until the command line
/// is parsed.
class OptionFlags {
 public:
  /// Gives `command` --config and a flag for each option whose key begins with `prefix`.
  explicit OptionFlags(CLI::App& command, std::string_view prefix = {});
  OptionFlags(const OptionFlags&) = delete;
  OptionFlags& operator=(const OptionFlags&) = delete;

  /// What was given, once the line is parsed, and this process's variables.
  ConfigurationSources sources() const;

 private:
  const CLI::App& command_;
  std::string config_;
  std::map<std::string, std::vector<std::string>> values_;
};

}  // namespace waystation::server
