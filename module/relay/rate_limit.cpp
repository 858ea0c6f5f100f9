#include "relay/rate_limit.hpp"

#include <algorithm>

namespace waystation {

bool TokenBucket::take(const RateLimit& limit, std::int64_t now_ms) noexcept {
  if (limit.per_second == 0) return true;
  // A clock that steps back adds nothing; one that steps forward fills the bucket at most.
  const auto elapsed = std::clamp<std::int64_t>(now_ms - since_ms_, 0, 3'600'000);
  since_ms_ = now_ms;
  used_ = std::max<std::int64_t>(0, used_ - elapsed * limit.per_second);
  const auto capacity = std::int64_t{std::max(limit.burst, 1U)} * 1000;
  if (used_ + 1000 > capacity) return false;
  used_ += 1000;
  return true;
}

std::int64_t TokenBucket::full_at_ms(const RateLimit& limit) const noexcept {
  if (limit.per_second == 0) return since_ms_;
  return since_ms_ + (used_ + limit.per_second - 1) / limit.per_second;
}

}  // namespace waystation
