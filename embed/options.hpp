// The options of the server: the library's table, and a few options that only the server has. Each
// row defines an option's flag, TOML key, variable, help text and checks.
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

/// Mistakes in options, in the configuration or on the command line: one line each.
class ConfigurationError : public std::runtime_error {
 public:
  explicit ConfigurationError(const std::string& line) : ConfigurationError(std::vector{line}) {}
  /// `lines` must not be empty.
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
  std::string allowed;  // the allowed values, for error texts
  Type type;
  Value standard;       // the default
  bool is_live = true;  // SIGHUP applies it; if false, only a restart

  std::string unit = {};  // of a number; empty: a count
  std::uint64_t minimum = 0;
  std::uint64_t maximum = 0;
  bool zero_allowed = false;  // 0 is allowed below the minimum
  std::vector<std::string> choices = {};
  // Returns what is wrong with a text or an entry of a list, or an empty text. Null: any text is
  // valid.
  std::string (*entry_problem)(std::string_view entry) = nullptr;
  // Entries are addresses that may have commas, and passwords, which are not shown.
  bool holds_passwords = false;
  const waystation_option_info* info = nullptr;  // the library's row; null: a server option

  std::string flag() const;         // "--max-connections"
  std::string environment() const;  // "WAYSTATION_MAX_CONNECTIONS"
};

/// Every option, in the order of the configuration file.
std::span<const Option> all_options();

/// The option with this key, or null.
const Option* find_option(std::string_view key);

/// The key most similar to `key`, or empty if none is similar.
std::string_view nearest_key(std::string_view key);

/// The value of every option.
class Settings {
 public:
  /// Every option at its default.
  Settings();

  const Value& value(const Option& option) const;
  void set(const Option& option, Value value);

  // By key. The option must have this type.
  bool flag(std::string_view key) const;
  std::uint64_t number(std::string_view key) const;
  const std::string& text(std::string_view key) const;
  const std::vector<std::string>& list(std::string_view key) const;

 private:
  std::vector<Value> values_;  // in the order of the options
};

/// Reads a value of a flag or variable. The entries of a list are separated by commas. Returns
/// nothing if the text is not a value of the option's type.
std::optional<Value> parse_value(const Option& option, std::string_view text);

/// What is wrong with a value, as lines "<key> = <value>: <problem>; allowed: <allowed>": one for
/// each wrong entry of a list, else at most one.
std::vector<std::string> mistakes_in(const Option& option, const Value& value);

/// The same line for a value of another type. `value` is its text form.
std::string wrong_type(const Option& option, std::string_view value);

/// As TOML: `true`, `16`, `"open"`, `["127.0.0.1:8080"]`.
std::string to_toml(const Value& value);

/// As to_toml(), for people: `["redis://:***@10.0.0.5"]` in place of a user and password.
std::string to_shown_toml(const Option& option, const Value& value);

/// `text` in quotes, with control characters escaped, truncated if it is long.
std::string quoted(std::string_view text);

}  // namespace waystation::server
