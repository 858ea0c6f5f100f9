#include "cluster/incarnation.hpp"

#include <openssl/rand.h>

#include <algorithm>
#include <new>

namespace waystation {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

}  // namespace

Incarnation Incarnation::random() {
  Incarnation made;
  if (RAND_bytes(made.bytes.data(), static_cast<int>(made.bytes.size())) != 1) {
    throw std::bad_alloc();
  }
  return made;
}

Incarnation Incarnation::next() const {
  auto made = random();
  std::copy_n(bytes.begin(), kBytes / 2, made.bytes.begin());
  return made;
}

std::optional<Incarnation> Incarnation::parse(std::string_view hex) noexcept {
  if (hex.size() != 2 * kBytes) return std::nullopt;
  Incarnation parsed;
  for (std::size_t i = 0; i < hex.size(); ++i) {
    const auto digit = kDigits.find(hex[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    auto& byte = parsed.bytes[i / 2];
    byte = static_cast<unsigned char>(std::size_t{byte} << 4U | digit);
  }
  return parsed;
}

std::string Incarnation::hex() const {
  std::string text;
  text.reserve(2 * kBytes);
  for (const std::size_t byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 0xFU];
  }
  return text;
}

}  // namespace waystation
