// The name of a node for as long as it is connected.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace waystation {

/// 16 random bytes. A node takes another incarnation whenever it subscribes anew. So it never takes
/// a message for an earlier connection, and each incarnation has a key to seal with that no other
/// has. All incarnations of a node have the same first half, which no other node has.
struct Incarnation {
  static constexpr std::size_t kBytes = 16;

  std::array<unsigned char, kBytes> bytes{};

  /// Throws std::bad_alloc where the system has no random bytes.
  static Incarnation random();
  /// Another one of the same node. Throws as random().
  Incarnation next() const;
  /// From 32 digits of hex(); nothing for any other text.
  static std::optional<Incarnation> parse(std::string_view hex) noexcept;

  std::string hex() const;
  std::string_view view() const noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  friend auto operator<=>(const Incarnation&, const Incarnation&) = default;
};

}  // namespace waystation
