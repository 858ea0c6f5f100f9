// A token bucket.
#pragma once

#include <cstdint>

namespace waystation {

/// The limit for one sender, in messages. `per_second` 0: no limit.
struct RateLimit {
  std::uint32_t per_second = 0;
  std::uint32_t burst = 0;
};

/// The bucket of one sender. It starts full. One thread at a time.
class TokenBucket {
 public:
  /// Takes one message at `now_ms`. False: the bucket is empty, and nothing was taken.
  bool take(const RateLimit& limit, std::int64_t now_ms) noexcept;

  /// When the bucket will be full again; a time in the past if it is full.
  std::int64_t full_at_ms(const RateLimit& limit) const noexcept;
  /// The time of the last take().
  std::int64_t since_ms() const noexcept { return since_ms_; }

 private:
  // In thousandths of a message: a rate of 1 per second refills one unit per millisecond.
  std::int64_t used_ = 0;
  std::int64_t since_ms_ = 0;
};

}  // namespace waystation
