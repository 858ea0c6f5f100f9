// The format of --help.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace waystation::server {

/// CLI11's format with one spelling of each option, and the default after the description.
/// Subcommands inherit it, so set it before adding them.
class HelpFormat : public CLI::Formatter {
 public:
  HelpFormat();

  std::string make_option_name(const CLI::Option* option, bool is_positional) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
};

}  // namespace waystation::server
