// What a target defines whose input the library reads on a host's threads.
#pragma once

#include <cstddef>
#include <cstdint>

/// Runs one input and returns 0. It is called on a thread with a small stack, see
/// support/small_stack.h.
int fuzz_one_input(const std::uint8_t* data, std::size_t size);
