#include "reactor/connection_deadlines.hpp"

#include <algorithm>

namespace waystation {
namespace {

// The clock of a round counts milliseconds, so a pause may end this much late. The next pause is
// shorter by as much, but not by more, however late a busy thread is.
constexpr std::int64_t kPauseSlackUs = 1'000;

/// After so long without bytes, or with an incomplete message, a connection is ended.
constexpr std::int64_t timeout_ms(std::int64_t ping_interval_ms) noexcept {
  return 2 * ping_interval_ms;
}

}  // namespace

void ReadPause::extend(std::int64_t us, std::int64_t now_ms) noexcept {
  const auto now_us = now_ms * 1000;
  ends_us_ = (is_set() ? std::max(ends_us_, now_us - kPauseSlackUs) : now_us) + us;
}

void ReadPause::shorten(std::int64_t now_ms) noexcept {
  ends_us_ = std::min(ends_us_, now_ms * 1000);
}

void ConnectionDeadlines::restart(std::int64_t now_ms, std::int64_t ping_interval_ms) noexcept {
  if (is_closing()) return;
  last_received_ms_ = now_ms;
  next_ping_or_close_ms_ = now_ms + ping_interval_ms;
  if (message_began_ms_ != 0) message_began_ms_ = now_ms;
}

ConnectionDeadlines::Due ConnectionDeadlines::due(std::int64_t now_ms,
                                                  std::int64_t ping_interval_ms) const noexcept {
  if (is_closing()) return now_ms >= next_ping_or_close_ms_ ? Due::close : Due::nothing;
  const auto timeout = timeout_ms(ping_interval_ms);
  if (now_ms - last_received_ms_ >= timeout) return Due::dead;
  if (expires_ms_ != 0 && now_ms >= expires_ms_) return Due::expired;
  if (message_began_ms_ != 0 && now_ms - message_began_ms_ >= timeout) return Due::stalled;
  return now_ms >= next_ping_or_close_ms_ ? Due::ping : Due::nothing;
}

std::int64_t ConnectionDeadlines::next(std::int64_t ping_interval_ms) const noexcept {
  if (is_closing()) return next_ping_or_close_ms_;
  const auto timeout = timeout_ms(ping_interval_ms);
  auto next = std::min(next_ping_or_close_ms_, last_received_ms_ + timeout);
  if (expires_ms_ != 0) next = std::min(next, expires_ms_);
  if (message_began_ms_ != 0) next = std::min(next, message_began_ms_ + timeout);
  return next;
}

}  // namespace waystation
