#include "embed/token_command.hpp"

#include <waystation/waystation.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <stdexcept>
#include <string_view>

#include "embed/configuration.hpp"
#include "embed/relay_options.hpp"

namespace waystation::server {
namespace {

constexpr std::uint32_t kLongestLifetime = 10 * 365 * 24 * 3600;

std::string joined(const std::vector<std::string>& scopes) {
  std::string text;
  for (const auto& scope : scopes) text += (text.empty() ? "" : " ") + scope;
  return text;
}

/// A check that reports values other than the allowed ones.
CLI::Validator allowed_only(bool (*accepts)(const std::string& text), const std::string& allowed) {
  return {[accepts, allowed](std::string& text) {
            return accepts(text)
                       ? std::string{}
                       : quoted(std::string_view{text}) + ": not allowed; allowed: " + allowed;
          },
          ""};
}

}  // namespace

TokenCommand::TokenCommand(CLI::App& app)
    : command_(*app.add_subcommand("token", "issue tokens for testing a configuration")),
      issue_(*command_.add_subcommand("issue", "sign a token and print it")),
      flags_(issue_, "jwt_") {
  command_.require_subcommand(1);
  issue_.add_option("--user", user_, "user of the token: 1 to 64 of the characters 0-9 and a-z")
      ->required()
      ->type_name("USER");
  issue_
      .add_option("--scope", scopes_, "scopes beyond the user's own sockets: push, admin, or both")
      ->delimiter(',')
      ->check(
          allowed_only([](const std::string& text) { return text == "push" || text == "admin"; },
                       "push or admin"))
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name("SCOPE");
  issue_.add_option("--lifetime-seconds", lifetime_seconds_, "lifetime of the token")
      ->check(allowed_only(
          [](const std::string& text) {
            std::uint32_t seconds = 0;
            const char* const end = text.data() + text.size();
            const auto [stop, error] = std::from_chars(text.data(), end, seconds);
            return error == std::errc{} && stop == end && seconds > 0 &&
                   seconds <= kLongestLifetime;
          },
          "a whole number from 1 to " + std::to_string(kLongestLifetime)))
      ->type_name("NUMBER")
      ->capture_default_str();
  issue_
      .add_option("--key-id", key_id_,
                  "key that signs; without it, the first key in the file that can sign")
      ->type_name("ID");
  issue_.footer(
      "The key is a secret or a private key in jwt_key_file. Only its owner may have access to\n"
      "the file (a file of root may be readable by its group). To create a key and start a "
      "server:\n"
      "    (umask 077; openssl rand -base64 32 > key)\n"
      "    waystation serve --auth jwt --jwt-key-file key\n"
      "In a second terminal, a token for that server:\n"
      "    waystation token issue --user alice --jwt-key-file key");
}

int TokenCommand::run() const {
  auto configuration = load_configuration(flags_.sources());
  const LibraryOptions options{configuration.settings};
  const auto scopes = joined(scopes_);
  waystation_token_request request{};
  request.size = sizeof request;
  request.user = user_.c_str();
  request.scopes = scopes.c_str();
  request.lifetime_seconds = lifetime_seconds_;
  request.key_id = key_id_.c_str();
  std::array<char, 8193> token{};  // waystation_token_issue says so
  LibraryError error;
  const auto status =
      waystation_token_issue(options.get(), &request, token.data(), token.size(), error);
  if (find_option(error.option()) != nullptr) {
    configuration.add_mistake(error.option(), error.message());
    configuration.throw_mistakes();
  }
  error.check(status);
  return std::printf("%s\n", token.data()) > 0 && std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace waystation::server
