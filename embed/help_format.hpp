// How --help looks.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace waystation::server {

/// As CLI11's own, with each option under one spelling, and its default behind what it is for. To
/// be set before subcommands are added, which inherit it.
class HelpFormat : public CLI::Formatter {
 public:
  HelpFormat();

  std::string make_option_name(const CLI::Option* option, bool is_positional) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
};

}  // namespace waystation::server
