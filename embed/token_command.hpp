// `waystation token issue`: a token for testing a configuration.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "embed/option_flags.hpp"

namespace waystation::server {

/// Adds the command to a program, and runs it.
class TokenCommand {
 public:
  /// `app` must outlive this object. Neither may move before run() returns.
  explicit TokenCommand(CLI::App& app);
  TokenCommand(const TokenCommand&) = delete;
  TokenCommand& operator=(const TokenCommand&) = delete;

  bool is_selected() const { return command_.parsed(); }
  /// Prints the token on one line. Returns the exit code. Throws ConfigurationError, and
  /// std::runtime_error if memory runs out.
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
