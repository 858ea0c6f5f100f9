// Errors about options and arguments.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace waystation {

/// A mistake of the host application or an administrator.
struct Error {
  std::string option;   // the option that is wrong; empty: none
  std::string message;  // one line; about an option as option_error() writes it

  friend bool operator==(const Error&, const Error&) = default;
};

/// "<option> = <value>: <problem>; allowed: <allowed>". `value` must be printable: a number, or
/// in_quotes() of a text. `allowed` may be empty if the problem says what to do.
Error option_error(std::string_view option, std::string_view value, std::string_view problem,
                   std::string_view allowed = {});

/// An Error as an exception, for constructors.
class OptionError : public std::invalid_argument {
 public:
  explicit OptionError(Error error);

  const Error& error() const noexcept { return error_; }

 private:
  Error error_;
};

/// `text` for one line of a log or a response: in quotes, truncated if it is longer than
/// `max_shown`, and with all characters except printable ASCII replaced.
std::string in_quotes(std::string_view text, std::size_t max_shown = 80);

}  // namespace waystation
