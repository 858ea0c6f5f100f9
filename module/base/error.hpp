// Why an option or an argument is not allowed.
#pragma once

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

/// "<option> = <value>: <problem>; allowed: <allowed>". `value` is fit to be shown: a number, or
/// in_quotes() of a text. `allowed` may be empty: the problem says what to do.
Error option_error(std::string_view option, std::string_view value, std::string_view problem,
                   std::string_view allowed = {});

/// An Error on its way out of a constructor.
class OptionError : public std::invalid_argument {
 public:
  explicit OptionError(Error error);

  const Error& error() const noexcept { return error_; }

 private:
  Error error_;
};

/// `text` fit for one line of a log or an answer: in quotes, cut if it is long, and with every
/// character but printable ASCII replaced.
std::string in_quotes(std::string_view text);

}  // namespace waystation
