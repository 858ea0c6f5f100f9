// Statistics of a cluster that any thread may read.
#pragma once

#include <atomic>
#include <cstdint>

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

}  // namespace waystation
