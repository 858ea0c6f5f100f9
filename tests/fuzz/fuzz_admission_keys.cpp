// Key files.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "admission/keys.hpp"
#include "fuzz/one_input.hpp"

int fuzz_one_input(const std::uint8_t* data, std::size_t size) {
  using namespace waystation;
  const auto parsed = KeyRing::parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!parsed) {
    const auto& problem = parsed.error();
    if (problem.empty() || problem.find('\n') != std::string::npos) std::abort();
    return 0;
  }
  const auto& keys = (*parsed)->keys();
  if (keys.empty()) std::abort();
  for (const Key& key : keys) {
    if (key.verify.size() < 32) std::abort();
  }
  return 0;
}
