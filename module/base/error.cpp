#include "base/error.hpp"

#include <utility>

namespace waystation {

Error option_error(std::string_view option, std::string_view value, std::string_view problem,
                   std::string_view allowed) {
  std::string message;
  message.append(option).append(" = ").append(value).append(": ").append(problem);
  if (!allowed.empty()) message.append("; allowed: ").append(allowed);
  return {std::string(option), std::move(message)};
}

OptionError::OptionError(Error error)
    : std::invalid_argument(error.message), error_(std::move(error)) {}

std::string in_quotes(std::string_view text, std::size_t max_shown) {
  std::string out = "\"";
  for (const char c : text.substr(0, max_shown)) out += c < ' ' || c > '~' || c == '"' ? '?' : c;
  out += text.size() > max_shown ? "…\"" : "\"";
  return out;
}

}  // namespace waystation
