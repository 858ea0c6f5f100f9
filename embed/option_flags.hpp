// The option table as flags of a command.
#pragma once

#include <CLI/CLI.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "embed/configuration.hpp"

namespace waystation::server {

/// Collects --config and the option flags of one command. Must not move before the command line is
/// parsed.
class OptionFlags {
 public:
  /// Adds --config to `command`, and a flag for each option whose key begins with `prefix`.
  explicit OptionFlags(CLI::App& command, std::string_view prefix = {});
  OptionFlags(const OptionFlags&) = delete;
  OptionFlags& operator=(const OptionFlags&) = delete;

  /// The flags given and this process's variables. Call it after the command line is parsed.
  ConfigurationSources sources() const;

 private:
  const CLI::App& command_;
  std::vector<std::string> config_;
  std::map<std::string, std::vector<std::string>> values_;
};

}  // namespace waystation::server
