// The one table of options. A row gives an option its flag, its key in the TOML file, its
// environment variable, its help text and its checks.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "embed/settings.hpp"

namespace waystation::server {

/// A mistake in an option or a configuration: one line for the person who made it.
class ConfigurationError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

using Value = std::variant<bool, std::uint64_t, std::string, std::vector<std::string>>;

/// Where an option's value stands in Settings. It also says of which type the option is.
using Field = std::variant<bool Settings::*, std::uint64_t Settings::*, std::string Settings::*,
                           std::vector<std::string> Settings::*>;

struct Option {
  std::string_view key;
  Field field;
  std::string_view doc;      // one line, for --help and `config show`
  std::string_view allowed;  // what may stand here, in words that follow "allowed is"
  bool (*accepts)(std::string_view text) = nullptr;  // a text or each entry of a list; null: any
  // What is wrong with a text that is not accepted, in words before "; allowed is".
  std::string (*objection)(std::string_view text) = nullptr;
  std::uint64_t lowest = 0;  // of a number
  std::uint64_t highest = 0;
  bool needs_restart = false;  // SIGHUP cannot apply it

  std::string flag() const;         // "--max-connections"
  std::string environment() const;  // "WAYSTATION_MAX_CONNECTIONS"
  bool is_list() const;
  bool is_switch() const;
};

/// Every option, in the order in which people should read of them.
std::span<const Option> all_options();

/// The option with that key, or null.
const Option* find_option(std::string_view key);

/// The key that was probably meant, or empty.
std::string_view nearest_key(std::string_view key);

/// Reads a value as flags and variables write it; a list's entries are separated by commas.
/// Throws ConfigurationError; `where` says where the text stands.
Value parse_value(const Option& option, std::string_view text, std::string_view where);

/// Puts a value into `settings`. Throws ConfigurationError where its type is another than the
/// option's, or where it is not allowed.
void assign(const Option& option, Value value, std::string_view where, Settings& settings);

Value value_of(const Option& option, const Settings& settings);

/// As TOML: `true`, `16`, `"open"`, `["127.0.0.1:8080"]`.
std::string to_toml(const Value& value);

/// The line for a value that is not allowed; `why` may be empty.
ConfigurationError not_allowed(const Option& option, std::string_view value, std::string_view where,
                               std::string_view why = {});

/// `text` in quotes with control characters escaped, cut where it is long: fit for one line.
std::string quoted(std::string_view text);

}  // namespace waystation::server
