// How often sockets were refused, by the code of the refusal.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace waystation {

/// The codes with which a request for a socket route is refused (PROTOCOL.md), and one for any that
/// is missing here: their number must not depend on what clients do.
inline constexpr std::array<const char*, 21> kRefusalCodes = {
    "bad_group",       "bad_handshake",      "bad_host",
    "bad_origin",      "bad_subject",        "bad_subprotocol",
    "bad_token",       "bad_user",           "full",
    "internal",        "method_not_allowed", "not_a_member",
    "not_adoptable",   "not_found",          "not_that_user",
    "stopping",        "tls_unsupported",    "too_many",
    "unauthenticated", "upgrade_required",   "other"};

/// Counts; any thread.
class RefusalCounts {
 public:
  void add(std::string_view code) noexcept {
    std::size_t i = 0;
    while (i + 1 < kRefusalCodes.size() && kRefusalCodes[i] != code) ++i;
    counts_[i].fetch_add(1, std::memory_order_relaxed);
  }

  std::uint64_t of(std::size_t i) const noexcept {
    return counts_[i].load(std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<std::uint64_t>, kRefusalCodes.size()> counts_{};
};

}  // namespace waystation
