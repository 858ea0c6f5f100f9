// The program `waystation`: its command line and its error output.
#include <waystation/waystation.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <exception>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "embed/audit_cli.hpp"
#include "embed/configuration.hpp"
#include "embed/help_format.hpp"
#include "embed/log.hpp"
#include "embed/option_flags.hpp"
#include "embed/options.hpp"
#include "embed/serve.hpp"
#include "embed/token_command.hpp"

namespace waystation::server {
namespace {

/// The arguments in the order that CLI11 needs: last one first. `--www=` becomes `--www` and an
/// empty text, because CLI11 2.1 would otherwise read the next argument as the value.
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

/// The innermost command that was given, and its full name.
std::pair<const CLI::App*, std::string> command_given(const CLI::App& app) {
  std::string words = "waystation";
  const auto* command = &app;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    words += ' ' + command->get_name();
  }
  return {command, words};
}

/// The error for a command without its subcommand.
ConfigurationError missing_subcommand(const CLI::App& command, const std::string& words) {
  std::string allowed;
  for (const auto* each : command.get_subcommands(nullptr)) {
    allowed += (allowed.empty() ? "" : " or ") + words + ' ' + each->get_name();
  }
  return ConfigurationError{quoted(std::string_view{words}) +
                            " needs a subcommand; allowed: " + allowed};
}

/// The --listen flag to suggest for a flag of other programs, such as --port. Empty for any other
/// flag.
std::string suggested_listen_flag(std::string_view flag, std::string_view next) {
  constexpr std::array<std::string_view, 7> words{"-p",     "--port",    "--http-port", "--bind",
                                                  "--host", "--address", "-l"};
  if (std::ranges::find(words, flag.substr(0, flag.find('='))) == words.end()) return {};
  const auto equals = flag.find('=');
  const auto value = equals == std::string_view::npos ? next : flag.substr(equals + 1);
  const bool is_port = !value.empty() && value.size() <= 5 &&
                       std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; });
  return "--listen 127.0.0.1:" + (is_port ? std::string{value} : "8080");
}

/// The line for a flag that the command `words` does not know. `next` is the argument after it.
std::string unknown_flag(const CLI::App& command, const std::string& words, std::string_view flag,
                         std::string_view next) {
  const auto name = std::string{flag.substr(0, flag.find('='))};
  const auto line = name + " is not an option of " + words;
  if (command.get_option_no_throw("--listen") != nullptr) {
    if (const auto listen = suggested_listen_flag(flag, next); !listen.empty()) {
      return line + "; did you mean " + listen + "?";
    }
  }
  auto key = name.starts_with("--") ? name.substr(2) : name;
  std::ranges::replace(key, '-', '_');
  const auto nearest = nearest_key(key);
  const auto meant = nearest.empty() ? std::string{} : find_option(nearest)->flag();
  const bool is_there = !meant.empty() && command.get_option_no_throw(meant) != nullptr;
  return line + (is_there ? "; did you mean " + meant + "?" : "; see " + words + " --help");
}

/// A line for each argument that its command does not know. An argument behind an unknown flag is
/// that flag's value.
std::vector<std::string> unexpected_arguments(const CLI::App& app) {
  const auto [command, words] = command_given(app);
  const auto arguments = app.remaining(true);
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto& argument = arguments[i];
    const auto next = i + 1 < arguments.size() ? std::string_view{arguments[i + 1]} : "";
    if (argument.size() > 1 && argument.starts_with('-')) {
      lines.push_back(unknown_flag(*command, words, argument, next));
      const bool has_value = !next.empty() && !next.starts_with('-');
      if (has_value && argument.find('=') == std::string::npos) ++i;
      continue;
    }
    // A single argument is probably the file to read.
    const bool may_be_file = arguments.size() == 1 &&
                             command->get_option_no_throw("--file") != nullptr &&
                             command->count("--file") == 0;
    const auto shown = quoted(std::string_view{argument});
    lines.push_back(
        shown + " was not expected" +
        (may_be_file ? "; did you mean --file " + shown + "?" : "; see " + words + " --help"));
  }
  return lines;
}

int run(int argc, char** argv) {
  CLI::App app{"Waystation: a one-to-one chat and push relay that stores no conversation",
               "waystation"};
  app.formatter(std::make_shared<HelpFormat>());
  app.set_version_flag("--version", std::string{"waystation "} + waystation_version());
  app.require_subcommand(1);
  app.footer(
      "Every option is also a key of the TOML file (max_connections) and a variable\n"
      "(WAYSTATION_MAX_CONNECTIONS). A flag overrides a variable, a variable overrides the\n"
      "file. `waystation config show` prints the effective values.");

  auto& serve_command = *app.add_subcommand("serve", "run the server: chat, push and the page");
  OptionFlags serve_flags{serve_command};
  auto& config_command = *app.add_subcommand("config", "check or print the configuration");
  config_command.require_subcommand(1);
  auto& check_command = *config_command.add_subcommand("check", "check the configuration");
  OptionFlags check_flags{check_command};
  bool is_online = false;
  check_command.add_flag("--online", is_online,
                         "also connect to the servers of cluster, and check their settings");
  auto& show_command = *config_command.add_subcommand("show", "print each value and its source");
  OptionFlags show_flags{show_command};

  // These report unknown arguments together with the mistakes in the options.
  for (auto* command : {&serve_command, &check_command, &show_command}) command->allow_extras();

  AuditCommands audit_commands{app};
  TokenCommand token_command{app};

  try {
    app.parse(arguments(argc, argv));
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::RequiredError& error) {
    const auto [command, words] = command_given(app);
    if (command->get_subcommands(nullptr).empty()) {  // an option is missing
      throw ConfigurationError{std::string{error.what()} + "; see " + words + " --help"};
    }
    if (command != &app) throw missing_subcommand(*command, words);
    const auto last =
        argc > 1 ? "; " + quoted(argv[argc - 1]) + " is not a command" : std::string{};
    throw ConfigurationError{
        "no command; allowed: serve, audit list, audit stats, audit export, audit "
        "missed, audit prune, token issue, config check or config show" +
        last};
  } catch (const CLI::ExtrasError&) {
    throw ConfigurationError{unexpected_arguments(app)};
  } catch (const CLI::ParseError& error) {
    throw ConfigurationError{std::string{error.what()} + "; see " + command_given(app).second +
                             " --help"};
  }
  if (audit_commands.is_selected()) return audit_commands.run();
  if (token_command.is_selected()) return token_command.run();
  const auto& flags = serve_command.parsed()   ? serve_flags
                      : check_command.parsed() ? check_flags
                                               : show_flags;
  auto sources = flags.sources();
  std::ranges::move(unexpected_arguments(app), std::back_inserter(sources.mistakes));
  if (serve_command.parsed()) return serve(sources);
  return check_command.parsed() ? config_check(sources, is_online) : config_show(sources);
}

}  // namespace

}  // namespace waystation::server

int main(int argc, char** argv) {
  using namespace waystation::server;
  try {
    return run(argc, argv);
  } catch (const ConfigurationError& error) {
    for (const auto& line : error.lines()) write_final_line(line);
    return kUsageError;
  } catch (const std::exception& error) {
    write_final_line(error.what());
    return kFailed;
  }
}
