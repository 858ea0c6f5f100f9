// How much memory the program asks for, seen by an operator new of the tests' own.
#pragma once

#include <cstddef>

namespace waystation::test {

void forget_allocations() noexcept;

/// The largest piece that operator new gave since forget_allocations().
std::size_t largest_allocation() noexcept;

}  // namespace waystation::test
