// Deadlines, soonest first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace waystation {

class Timer;

/// The timers of one thread, as a binary heap.
class TimerQueue {
 public:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  /// The deadline of the soonest timer; kNever where none is set.
  std::int64_t next() const noexcept { return heap_.empty() ? kNever : heap_.front().deadline_ms; }

  /// Calls on_timer of each timer whose deadline is `now_ms` or earlier, the soonest first. A timer
  /// that is set meanwhile to such a deadline is called at the next run at the earliest.
  void run(std::int64_t now_ms);

  /// How many are set.
  std::size_t size() const noexcept { return heap_.size(); }

 private:
  friend class Timer;

  struct Entry {
    std::int64_t deadline_ms;
    Timer* timer;
  };

  void reserve();
  void move(Timer& timer, std::int64_t deadline_ms) noexcept;
  void place(std::size_t at, Entry entry) noexcept;
  void sift_up(std::size_t at, Entry entry) noexcept;
  void sift_down(std::size_t at, Entry entry) noexcept;

  std::vector<Entry> heap_;
  std::size_t timers_ = 0;  // set or not; there is memory for all of them
  std::int64_t running_ms_ = -kNever;
};

/// One deadline, of any object that derives from it or has it as a member. Not to be moved; the
/// queue must outlive it. One thread.
class Timer {
 public:
  /// Throws std::bad_alloc. Setting the timer later needs no memory.
  explicit Timer(TimerQueue& queue) : queue_(queue) {
    queue_.reserve();
    ++queue_.timers_;
  }
  virtual ~Timer() {
    set(TimerQueue::kNever);
    --queue_.timers_;
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// The time at which on_timer is called; kNever: not.
  std::int64_t deadline_ms() const noexcept;
  /// Replaces the deadline; kNever: none.
  void set(std::int64_t deadline_ms) noexcept { queue_.move(*this, deadline_ms); }
  /// Sets the deadline unless it is sooner already.
  void set_sooner(std::int64_t deadline_ms) noexcept {
    if (deadline_ms < this->deadline_ms()) set(deadline_ms);
  }

 private:
  friend class TimerQueue;
  static constexpr std::uint32_t kNowhere = std::numeric_limits<std::uint32_t>::max();

  /// The deadline has come. The timer is not set any more; it may be set again, or destroyed.
  virtual void on_timer() noexcept = 0;

  TimerQueue& queue_;
  std::uint32_t at_ = kNowhere;  // in the queue's heap
};

inline std::int64_t Timer::deadline_ms() const noexcept {
  return at_ == kNowhere ? TimerQueue::kNever : queue_.heap_[at_].deadline_ms;
}

}  // namespace waystation
