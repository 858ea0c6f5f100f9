// `waystation token issue`: a token for trying a set-up out.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "embed/option_flags.hpp"

namespace waystation::server {

/// Adds the command to a program's, and runs it where it was asked for.
class TokenCommand {
 public:
  /// Both must stay where they are until it has run.
  explicit TokenCommand(CLI::App& app);
  TokenCommand(const TokenCommand&) = delete;
  TokenCommand& operator=(const TokenCommand&) = delete;

  bool was_asked_for() const { return command_.parsed(); }
  /// Prints the token, alone on its line. Returns the exit code; throws ConfigurationError, and
  /// std::runtime_error where the machine has no room for it.
  int run() const;

 private:
  CLI::App& command_;
  CLI::App& issue_;
  OptionFlags flags_;
  std::string user_;
  std::vector<std::string> scopes_;
  std::uint32_t lifetime_seconds_ = 3600;
  std::string key_id_;
};

}  // namespace waystation::server
