// Defined by targets whose input the library reads on the host application's threads.
#pragma once

#include <cstddef>
#include <cstdint>

/// Runs one input and returns 0. Called on a thread with a small stack, see support/small_stack.h.
int fuzz_one_input(const std::uint8_t* data, std::size_t size);
