// A token bucket.
#pragma once

#include <cstdint>

namespace waystation {

/// How much one sender may say. `per_second` 0: as much as it likes.
struct RateLimit {
  std::uint32_t per_second = 0;
  std::uint32_t burst = 0;
};

/// The bucket of one sender. It starts full. One thread.
class TokenBucket {
 public:
  /// Takes one message's worth at `now_ms`; false where the bucket is empty.
  bool take(const RateLimit& limit, std::int64_t now_ms) noexcept;

  /// When it will be full again; in the past if it is.
  std::int64_t full_at_ms(const RateLimit& limit) const noexcept;
  /// When something was last taken from it.
  std::int64_t since_ms() const noexcept { return since_ms_; }

 private:
  // In thousandths of a message, so that slow rates refill between two messages of a millisecond.
  std::int64_t used_ = 0;
  std::int64_t since_ms_ = 0;
};

}  // namespace waystation
