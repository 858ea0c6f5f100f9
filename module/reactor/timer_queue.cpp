#include "reactor/timer_queue.hpp"

#include <utility>

namespace waystation {

void TimerQueue::move(std::uint64_t id, std::int64_t from_ms, std::int64_t to_ms) {
  auto entry = entries_.extract({from_ms, id});
  if (to_ms == kNever) return;
  if (entry.empty()) {
    entries_.insert({to_ms, id});
  } else {
    entry.value().deadline_ms = to_ms;
    entries_.insert(std::move(entry));
  }
}

std::optional<TimerQueue::Entry> TimerQueue::next() const noexcept {
  if (entries_.empty()) return std::nullopt;
  return *entries_.begin();
}

}  // namespace waystation
