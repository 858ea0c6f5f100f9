// Tokens for runs with authentication.
#pragma once

#include <string>
#include <string_view>

namespace waystation::load {

/// A JWT (HS256) for `user`, valid for an hour.
std::string sign_token(std::string_view key, std::string_view user);

}  // namespace waystation::load
