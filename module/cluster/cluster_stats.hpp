// What any thread may read about the backplane of a cluster.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace waystation {

/// Written by the reactor's thread only.
struct ClusterStats {
  std::atomic<std::uint64_t> engines = 0;        // configured
  std::atomic<std::uint64_t> engines_ready = 0;  // of them
  std::atomic<std::uint64_t> nodes = 0;          // known, this one too; the largest of all engines
  std::atomic<std::uint64_t> name_taken = 0;     // engines where another node has the name
  std::atomic<std::uint64_t> round_trip_us = 0;  // the last
  std::atomic<std::uint64_t> unavailable = 0;    // messages that were not passed on
  std::atomic<std::uint64_t> undecided = 0;      // messages whose decision is not known
  std::atomic<std::uint64_t> partial = 0;        // messages that only this node's sockets got
  std::atomic<std::uint64_t> resubscriptions = 0;  // of everything, after a lost connection
  std::atomic<std::uint64_t> frames_rejected = 0;  // that were malformed, or no key opens
};

/// Adds to a counter that one thread writes: cheaper than a locked addition, and as safe.
inline void count(std::atomic<std::uint64_t>& counter, std::uint64_t change = 1) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
}

/// The backplane shares it with its readers, who may still read after the backplane's end.
struct ClusterState {
  explicit ClusterState(std::size_t engines) : ready(engines) {}

  ClusterStats stats;
  // Whether messages can be published, by engine. Written by the reactor's thread only.
  std::vector<std::atomic<bool>> ready;

  /// The engine that decides the messages of `group`, the same on every node: FNV-1a.
  std::size_t engine_of(std::string_view group) const noexcept {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : group) {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
    return static_cast<std::size_t>(hash % ready.size());
  }

  /// Whether a socket that joins now is likely to be confirmed; `group` is empty for push.
  bool can_join(std::string_view group) const noexcept {
    const auto is_set = [](const auto& flag) { return flag.load(std::memory_order_relaxed); };
    return group.empty() ? std::ranges::all_of(ready, is_set) : is_set(ready[engine_of(group)]);
  }
};

}  // namespace waystation
