// A strict base64 decoder (RFC 4648).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace waystation {

/// Decodes base64 in either alphabet (sections 4 and 5), with full padding or without padding.
/// Returns nothing for any other character, mixed alphabets, wrong padding or non-zero trailing
/// bits. So two different texts of the same form never decode to the same bytes.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace waystation
