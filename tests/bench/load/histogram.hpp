// Latencies in buckets whose width grows with the value.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace waystation::load {

/// A log-linear histogram: each power of two has kParts equal buckets. A value read from it is at
/// most 1/kParts too large.
class Histogram {
 public:
  void add(std::uint64_t nanoseconds) noexcept {
    ++buckets_[index_of(nanoseconds)];
    ++count_;
    max_ = std::max(max_, nanoseconds);
  }

  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t max() const noexcept { return max_; }

  /// The value that `share` (0 to 1) of all samples do not exceed; 0 if empty.
  std::uint64_t quantile(double share) const noexcept {
    if (count_ == 0) return 0;
    auto left = static_cast<std::uint64_t>(share * static_cast<double>(count_));
    left = std::min(left, count_ - 1);
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      if (left < buckets_[i]) return std::min(end_of(i), max_);
      left -= buckets_[i];
    }
    return max_;
  }

 private:
  static constexpr std::size_t kPartBits = 6;
  static constexpr std::uint64_t kParts = 1U << kPartBits;

  static std::size_t index_of(std::uint64_t value) noexcept {
    if (value < kParts) return value;
    const auto shift = static_cast<std::size_t>(std::bit_width(value)) - kPartBits - 1;
    return (shift << kPartBits) + (value >> shift);
  }
  static std::uint64_t end_of(std::size_t index) noexcept {
    if (index < kParts) return index;
    const auto shift = (index >> kPartBits) - 1;
    return ((kParts + index % kParts + 1) << shift) - 1;
  }

  std::array<std::uint64_t, (64 - kPartBits + 1) << kPartBits> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace waystation::load
