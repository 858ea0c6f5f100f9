#include "unit/websocket/allocations.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace waystation::test {
namespace {

std::size_t g_largest = 0;

}  // namespace

void forget_allocations() noexcept {
  g_largest = 0;
}
std::size_t largest_allocation() noexcept {
  return g_largest;
}

/// For operator new below, which is outside all namespaces.
void note_allocation(std::size_t size) noexcept {
  g_largest = std::max(g_largest, size);
}

}  // namespace waystation::test

void* operator new(std::size_t size) {
  waystation::test::note_allocation(size);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
