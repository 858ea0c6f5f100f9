#include "reactor/timer_queue.hpp"

#include <algorithm>

namespace waystation {

void TimerQueue::run(std::int64_t now_ms) {
  running_ms_ = now_ms;
  while (next() <= now_ms) {
    auto& timer = *heap_.front().timer;
    move(timer, kNever);
    timer.on_timer();
  }
  running_ms_ = -kNever;
}

void TimerQueue::reserve() {
  if (heap_.capacity() > timers_) return;
  heap_.reserve(std::max<std::size_t>(16, 2 * heap_.capacity()));
}

void TimerQueue::move(Timer& timer, std::int64_t deadline_ms) noexcept {
  // While timers are run, one that sets itself again and again must not keep the thread.
  if (deadline_ms <= running_ms_) deadline_ms = running_ms_ + 1;
  const std::size_t at = timer.at_;
  if (deadline_ms == kNever) {
    if (at == Timer::kNowhere) return;
    timer.at_ = Timer::kNowhere;
    const auto last = heap_.back();
    heap_.pop_back();
    if (last.timer == &timer) return;
    // The last takes the free place, and then the place that its deadline gives it.
    if (at > 0 && last.deadline_ms < heap_[(at - 1) / 2].deadline_ms) {
      sift_up(at, last);
    } else {
      sift_down(at, last);
    }
  } else if (at == Timer::kNowhere) {
    heap_.push_back({deadline_ms, &timer});  // reserve() saw to the memory
    sift_up(heap_.size() - 1, {deadline_ms, &timer});
  } else if (deadline_ms < heap_[at].deadline_ms) {
    sift_up(at, {deadline_ms, &timer});
  } else {
    sift_down(at, {deadline_ms, &timer});
  }
}

void TimerQueue::place(std::size_t at, Entry entry) noexcept {
  heap_[at] = entry;
  entry.timer->at_ = static_cast<std::uint32_t>(at);
}

void TimerQueue::sift_up(std::size_t at, Entry entry) noexcept {
  while (at > 0 && entry.deadline_ms < heap_[(at - 1) / 2].deadline_ms) {
    place(at, heap_[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  place(at, entry);
}

void TimerQueue::sift_down(std::size_t at, Entry entry) noexcept {
  for (;;) {
    auto child = 2 * at + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1].deadline_ms < heap_[child].deadline_ms) {
      ++child;
    }
    if (entry.deadline_ms <= heap_[child].deadline_ms) break;
    place(at, heap_[child]);
    at = child;
  }
  place(at, entry);
}

}  // namespace waystation
