#include "support/memory.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace waystation::test {
namespace {

std::atomic<bool> g_is_short = false;
thread_local bool g_is_spared = false;
thread_local bool g_is_short_here = false;

}  // namespace

NoMemoryForOthers::NoMemoryForOthers() noexcept {
  g_is_spared = true;
  g_is_short = true;
}

NoMemoryForOthers::~NoMemoryForOthers() {
  g_is_short = false;
  g_is_spared = false;
}

NoMemoryHere::NoMemoryHere() noexcept {
  g_is_short_here = true;
}

NoMemoryHere::~NoMemoryHere() {
  g_is_short_here = false;
}

/// For operator new below, which is outside all namespaces.
bool is_memory_left() noexcept {
  return !g_is_short_here && (!g_is_short || g_is_spared);
}

}  // namespace waystation::test

// All forms for single objects: AddressSanitizer accepts no memory of its own form in these.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return waystation::test::is_memory_left() ? std::malloc(size) : nullptr;
}
void* operator new(std::size_t size) {
  void* const memory = operator new(size, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
