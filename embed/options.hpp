// The server's options: those of the library's table, and a few of its own. A flag, a TOML key, a
// variable, the help text and the checks of an option come from its row here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

struct waystation_option_info;

namespace waystation::server {

/// Mistakes in options, the configuration or a command line: one line each.
class ConfigurationError : public std::runtime_error {
 public:
  explicit ConfigurationError(const std::string& line) : ConfigurationError(std::vector{line}) {}
  /// At least one.
  explicit ConfigurationError(std::vector<std::string> lines);

  const std::vector<std::string>& lines() const noexcept { return lines_; }

 private:
  std::vector<std::string> lines_;
};

using Value = std::variant<bool, std::uint64_t, std::string, std::vector<std::string>>;

struct Option {
  enum class Type { boolean, number, choice, text, list };

  std::string key;
  std::string group;    // "server", "identity", …
  std::string help;     // sentences, for --help, `config show` and the shipped file
  std::string allowed;  // the values that are allowed
  Type type;
  Value standard;       // the default
  bool is_live = true;  // SIGHUP applies it; else only a restart

  std::string unit = {};  // of a number; empty: a count
  std::uint64_t minimum = 0;
  std::uint64_t maximum = 0;
  bool zero_allowed = false;  // although it is less than the minimum
  std::vector<std::string> choices = {};
  // What is wrong with an entry of a list; empty: nothing. Null: any text is good.
  std::string (*objection)(std::string_view entry) = nullptr;
  const waystation_option_info* info = nullptr;  // the library's row; null: the server's own

  std::string flag() const;         // "--max-connections"
  std::string environment() const;  // "WAYSTATION_MAX_CONNECTIONS"
};

/// Every option, in the order of the configuration file.
std::span<const Option> all_options();

/// The option with that key, or null.
const Option* find_option(std::string_view key);

/// The key that was probably meant, or empty.
std::string_view nearest_key(std::string_view key);

/// The value of every option.
class Settings {
 public:
  /// Every option at its default.
  Settings();

  const Value& value(const Option& option) const;
  void set(const Option& option, Value value);

  // By key, which must be one of that type.
  bool flag(std::string_view key) const;
  std::uint64_t number(std::string_view key) const;
  const std::string& text(std::string_view key) const;
  const std::vector<std::string>& list(std::string_view key) const;

 private:
  std::vector<Value> values_;  // in the order of the options
};

/// Reads a value as flags and variables write it; the entries of a list are separated by commas.
/// Nothing where the text is no value of the option's type.
std::optional<Value> parse_value(const Option& option, std::string_view text);

/// What is wrong with a value, as lines "<key> = <value>: <problem>; allowed: <allowed>": one for
/// each wrong entry of a list, else at most one.
std::vector<std::string> mistakes_in(const Option& option, const Value& value);

/// The same for what is no value of the option's type; `value` is how to show it.
std::string wrong_type(const Option& option, std::string_view value);

/// As TOML: `true`, `16`, `"open"`, `["127.0.0.1:8080"]`.
std::string to_toml(const Value& value);

/// `text` in quotes with control characters escaped, cut where it is long: fit for one line.
std::string quoted(std::string_view text);

/// The folder of the page that was installed with this program.
std::string installed_www();

}  // namespace waystation::server
