// The program `waystation`: its command line, and what becomes of errors.
#include <waystation/waystation.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "embed/audit_cli.hpp"
#include "embed/configuration.hpp"
#include "embed/options.hpp"
#include "embed/serve.hpp"

namespace waystation::server {
namespace {

constexpr int kFailed = 1;
constexpr int kMistaken = 2;

/// What the flags of a command collect.
struct Flags {
  std::string config;
  std::map<std::string, std::vector<std::string>> values;
};

/// Gives a command --config and a flag for each row of the table.
void add_options(CLI::App& command, Flags& flags) {
  command.add_option("--config", flags.config, "TOML file with options")->type_name("FILE");
  for (const auto& option : all_options()) {
    auto names = option.flag();
    // As the key is written, too, so that a line of the file can be pasted.
    if (option.key.find('_') != std::string_view::npos) names += ",--" + std::string{option.key};
    auto& values = flags.values[std::string{option.key}];
    const std::string doc{option.doc};
    if (option.is_switch()) {
      command.add_flag(names, values, doc)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    } else {
      command.add_option(names, values, doc)
          ->allow_extra_args(false)
          ->type_name(option.is_list()     ? "LIST"
                      : option.highest > 0 ? "NUMBER"
                                           : "TEXT");
    }
  }
}

ConfigurationSources sources_of(const CLI::App& command, const Flags& flags) {
  ConfigurationSources sources;
  if (command.count("--config") > 0) sources.file = flags.config;
  sources.environment = waystation_environment();
  for (const auto& [key, values] : flags.values) {
    if (command.count(find_option(key)->flag()) > 0) sources.flags.emplace(key, values);
  }
  return sources;
}

/// The arguments as CLI11 wants them: last one first. `--www=` becomes `--www` and an empty text,
/// because CLI11 2.1 would otherwise take the next argument for the value.
std::vector<std::string> arguments(int argc, char** argv) {
  std::vector<std::string> reversed;
  for (int i = argc - 1; i > 0; --i) {
    const std::string_view argument{argv[i]};
    const bool is_empty = argument.starts_with("--") && argument.ends_with('=') &&
                          argument.find('=') == argument.size() - 1;
    if (is_empty) reversed.emplace_back();
    reversed.emplace_back(is_empty ? argument.substr(0, argument.size() - 1) : argument);
  }
  return reversed;
}

int run(int argc, char** argv) {
  CLI::App app{"Waystation: a one-to-one chat and push relay that stores no conversation"};
  app.set_version_flag("--version", std::string{"waystation "} + waystation_version());
  app.require_subcommand(1);
  app.footer(
      "Every option is also a key of the TOML file (max_connections) and a variable\n"
      "(WAYSTATION_MAX_CONNECTIONS). A flag goes before a variable, a variable before the\n"
      "file, the file before the default. `waystation config show` shows what is in force.");

  Flags serve_flags;
  Flags check_flags;
  Flags show_flags;
  auto& serve_command = *app.add_subcommand("serve", "serve chat, push and the page");
  add_options(serve_command, serve_flags);
  auto& config_command = *app.add_subcommand("config", "look at the configuration");
  config_command.require_subcommand(1);
  auto& check_command = *config_command.add_subcommand("check", "say whether it is good");
  add_options(check_command, check_flags);
  auto& show_command =
      *config_command.add_subcommand("show", "print it, each value's origin beside it");
  add_options(show_command, show_flags);

  AuditCommands audit_commands{app};

  try {
    app.parse(arguments(argc, argv));
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::RequiredError&) {  // of a command; nothing else is required
    const auto last = argc > 1 ? "; " + quoted(argv[argc - 1]) + " is none" : std::string{};
    throw ConfigurationError{
        "a command is needed: serve, audit list, audit stats, audit export, audit "
        "prune, config check or config show" +
        last};
  } catch (const CLI::ParseError& error) {
    throw ConfigurationError{std::string{error.what()} + "; see waystation --help"};
  }
  if (audit_commands.was_asked_for()) return audit_commands.run();
  if (serve_command.parsed()) return serve(sources_of(serve_command, serve_flags));
  if (check_command.parsed()) return config_check(sources_of(check_command, check_flags));
  return config_show(sources_of(show_command, show_flags));
}

/// The line that ends a run that went wrong.
void complain(std::string line) {
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  std::fprintf(stderr, "waystation: %s\n", line.c_str());
}

}  // namespace

}  // namespace waystation::server

int main(int argc, char** argv) {
  using namespace waystation::server;
  try {
    return run(argc, argv);
  } catch (const ConfigurationError& error) {
    complain(error.what());
    return kMistaken;
  } catch (const std::exception& error) {
    complain(error.what());
    return kFailed;
  }
}
