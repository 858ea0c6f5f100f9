// Records the allocations of the program, with a replaced operator new.
#pragma once

#include <cstddef>

namespace waystation::test {

void forget_allocations() noexcept;

/// The largest allocation since forget_allocations().
std::size_t largest_allocation() noexcept;

}  // namespace waystation::test
