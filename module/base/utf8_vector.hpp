// UTF-8 validation of many bytes at a time, where the processor has the instructions for it.
#pragma once

#include <cstddef>
#include <string_view>

namespace waystation {

inline constexpr std::size_t kUtf8BlockBytes = 64;

/// The length of a prefix of `text` that is valid UTF-8 and ends between two characters. `text`
/// begins with a character. It is shorter than the longest one by less than two blocks. 0 on
/// processors without AVX2.
std::size_t valid_blocks(std::string_view text) noexcept;

}  // namespace waystation
