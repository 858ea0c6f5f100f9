// What any thread may read about the backplane of a cluster.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace waystation {

/// The buckets of a histogram of round trips: up to these durations, and one for longer ones.
struct RoundTripBucket {
  std::int64_t max_us;
  std::string_view le;  // in seconds, as the label of a Prometheus histogram; ends with a NUL
};
inline constexpr std::array<RoundTripBucket, 13> kRoundTripBuckets{{{100, "0.0001"},
                                                                    {250, "0.00025"},
                                                                    {500, "0.0005"},
                                                                    {1000, "0.001"},
                                                                    {2500, "0.0025"},
                                                                    {5000, "0.005"},
                                                                    {10'000, "0.01"},
                                                                    {25'000, "0.025"},
                                                                    {50'000, "0.05"},
                                                                    {100'000, "0.1"},
                                                                    {250'000, "0.25"},
                                                                    {500'000, "0.5"},
                                                                    {1'000'000, "1"}}};

/// The bucket of a round trip; kRoundTripBuckets.size() for longer ones.
constexpr std::size_t round_trip_bucket(std::int64_t us) noexcept {
  std::size_t index = 0;
  while (index < kRoundTripBuckets.size() && us > kRoundTripBuckets[index].max_us) ++index;
  return index;
}

/// Written by the reactor's thread only.
struct ClusterStats {
  std::atomic<std::uint64_t> engines = 0;        // configured
  std::atomic<std::uint64_t> engines_ready = 0;  // of them
  std::atomic<std::uint64_t> nodes = 0;          // known, this one too; the largest of all engines
  std::atomic<std::uint64_t> name_taken = 0;     // engines where another node has the name
  std::atomic<std::uint64_t> settings_differ =
      0;                                         // engines where this node does not fit the others
  std::atomic<std::uint64_t> round_trip_us = 0;  // the last
  std::atomic<std::uint64_t> round_trip_us_total = 0;                                  // of all
  std::array<std::atomic<std::uint64_t>, kRoundTripBuckets.size() + 1> round_trips{};  // by bucket
  std::atomic<std::uint64_t> unavailable = 0;      // messages that were not passed on
  std::atomic<std::uint64_t> undecided = 0;        // messages whose decision is not known
  std::atomic<std::uint64_t> partial = 0;          // messages that only this node's sockets got
  std::atomic<std::uint64_t> resubscriptions = 0;  // of everything, after a lost connection
  std::atomic<std::uint64_t> frames_rejected = 0;  // that were malformed, or no key opens
};

/// Adds to a counter that one thread writes: cheaper than a locked addition, and as safe.
inline void count(std::atomic<std::uint64_t>& counter, std::uint64_t change = 1) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
}

/// A heartbeat was answered after `us` microseconds.
inline void count_round_trip(ClusterStats& stats, std::int64_t us) noexcept {
  const auto duration = static_cast<std::uint64_t>(us < 0 ? 0 : us);
  stats.round_trip_us.store(duration, std::memory_order_relaxed);
  count(stats.round_trip_us_total, duration);
  count(stats.round_trips[round_trip_bucket(us)]);
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
