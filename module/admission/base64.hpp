// Base64 (RFC 4648), strictly.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace waystation {

/// Decodes base64 in either alphabet (sections 4 and 5), with its padding or without any. Nothing
/// for any other character, mixed alphabets, wrong padding, or bits left over that are not zero:
/// no two texts of the same form decode to the same bytes.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace waystation
