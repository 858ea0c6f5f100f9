// How often something was answered with a code, for each of a fixed set of codes: their number must
// not depend on what clients do.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace waystation {

/// Codes and how often each was counted.
using Tally = std::vector<std::pair<const char*, std::uint64_t>>;

// The codes that there are (PROTOCOL.md), and at the end of each list one for any that is missing.

/// Of refusals of a request for a socket route.
inline constexpr std::array kSocketRefusalCodes = {
    "bad_group",       "bad_handshake",      "bad_host",
    "bad_origin",      "bad_subject",        "bad_subprotocol",
    "bad_token",       "bad_user",           "full",
    "internal",        "method_not_allowed", "not_a_member",
    "not_adoptable",   "not_found",          "not_that_user",
    "stopping",        "tls_unsupported",    "too_many",
    "unauthenticated", "upgrade_required",   "other"};

/// Of refusals of a request for the HTTP API.
inline constexpr std::array kHttpRefusalCodes = {"audit_off",
                                                 "audit_unavailable",
                                                 "bad_host",
                                                 "bad_json",
                                                 "bad_origin",
                                                 "bad_query",
                                                 "bad_request",
                                                 "bad_subject",
                                                 "bad_token",
                                                 "bad_user",
                                                 "internal",
                                                 "length_required",
                                                 "method_not_allowed",
                                                 "missing_scope",
                                                 "not_an_operator",
                                                 "not_found",
                                                 "stopping",
                                                 "timeout",
                                                 "too_large",
                                                 "unauthenticated",
                                                 "unsupported_media_type",
                                                 "other"};

/// Counts; any thread. `Codes` ends with the one for all others.
template <const auto& Codes>
class CodeCounts {
 public:
  void add(std::string_view code) noexcept {
    std::size_t i = 0;
    while (i + 1 < Codes.size() && Codes[i] != code) ++i;
    counts_[i].fetch_add(1, std::memory_order_relaxed);
  }

  Tally tally() const {
    Tally result;
    result.reserve(Codes.size());
    for (std::size_t i = 0; i < Codes.size(); ++i) {
      result.emplace_back(Codes[i], counts_[i].load(std::memory_order_relaxed));
    }
    return result;
  }

 private:
  std::array<std::atomic<std::uint64_t>, Codes.size()> counts_{};
};

}  // namespace waystation
