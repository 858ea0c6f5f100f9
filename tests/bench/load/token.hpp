// Tokens for the runs in which the server asks for some.
#pragma once

#include <string>
#include <string_view>

namespace waystation::load {

/// A JWT (HS256) for `user`, good for an hour.
std::string sign_token(std::string_view key, std::string_view user);

}  // namespace waystation::load
