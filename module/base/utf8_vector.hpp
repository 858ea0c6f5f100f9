// UTF-8 validation of many bytes at a time, where the processor has the instructions for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace waystation {

inline constexpr std::size_t kUtf8BlockBytes = 64;

/// The length of a prefix of `text` that is valid UTF-8 and ends between two characters. `text`
/// begins with a character. It is shorter than the longest one by less than two blocks. 0 on
/// processors without AVX2.
std::size_t valid_blocks(std::string_view text) noexcept;

/// How far unmask_blocks() came.
struct UnmaskedBlocks {
  std::size_t unmasked = 0;  // whole blocks at the front
  std::size_t valid = 0;     // of these bytes: as valid_blocks() says
};

/// XORs whole blocks at the front of `text` with `mask`, which is eight bytes, and checks them at
/// the same time. What follows is left as it is: less than a block, or the text from an invalid
/// block on. Nothing on processors without AVX2.
UnmaskedBlocks unmask_blocks(std::span<char> text, std::uint64_t mask) noexcept;

}  // namespace waystation
