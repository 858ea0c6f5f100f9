#include "reactor/timer_queue.hpp"

namespace waystation {

std::optional<std::int64_t> TimerQueue::next() const {
  if (heap_.empty()) return std::nullopt;
  return heap_.top().deadline_ms;
}

std::optional<TimerQueue::Entry> TimerQueue::pop_due(std::int64_t now_ms) {
  if (heap_.empty() || heap_.top().deadline_ms > now_ms) return std::nullopt;
  const auto entry = heap_.top();
  heap_.pop();
  return entry;
}

}  // namespace waystation
