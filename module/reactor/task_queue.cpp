#include "reactor/task_queue.hpp"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>
#include <system_error>
#include <utility>

namespace waystation {

TaskQueue::TaskQueue() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_) throw std::system_error(errno, std::system_category(), "eventfd");
}

TaskQueue::~TaskQueue() {
  take_posted();
  const MutexLock lock(mutex_);
  due_.append_reversed(before_close_);
}

TaskQueue::List::~List() {
  while (pop()) {
  }
}

void TaskQueue::List::append_reversed(Posted* stack) noexcept {
  if (stack == nullptr) return;
  auto* const newest = stack;
  Posted* oldest = nullptr;
  while (stack != nullptr) {
    auto* const below = std::exchange(stack->next, oldest);
    oldest = std::exchange(stack, below);
  }
  (first == nullptr ? first : last->next) = oldest;
  last = newest;
}

std::unique_ptr<TaskQueue::Posted> TaskQueue::List::pop() noexcept {
  return std::unique_ptr<Posted>(first == nullptr ? nullptr : std::exchange(first, first->next));
}

bool TaskQueue::post(Task task) {
  auto added = std::make_unique<Posted>();
  added->task = std::move(task);
  auto* below = posted_.load(std::memory_order_relaxed);
  do {
    if (is_closed(below)) return false;
    added->next = below;
  } while (!posted_.compare_exchange_weak(below, added.get(), std::memory_order_release,
                                          std::memory_order_relaxed));
  (void)added.release();
  announce();
  return true;
}

bool TaskQueue::post_without_memory(Task task) noexcept {
  {
    const MutexLock lock(mutex_);
    if (is_closed(posted_.load(std::memory_order_relaxed))) return false;
    reserved_ = std::move(task);
    has_reserved_.store(true, std::memory_order_release);
  }
  announce();
  return true;
}

void TaskQueue::close(Task last) noexcept {
  {
    const MutexLock lock(mutex_);
    if (is_closed(posted_.load(std::memory_order_relaxed))) return;
    before_close_ = posted_.exchange(&closed_mark_, std::memory_order_acq_rel);
    reserved_ = std::move(last);
    has_reserved_.store(true, std::memory_order_release);
  }
  announce();
}

void TaskQueue::announce() noexcept {
  const std::uint64_t one = 1;
  // It fails only if the counter is full, and then the descriptor is readable.
  [[maybe_unused]] const auto written = ::write(event_.get(), &one, sizeof one);
}

void TaskQueue::on_readable() noexcept {
  std::uint64_t count = 0;
  // It fails only if the descriptor is not readable any more.
  [[maybe_unused]] const auto read = ::read(event_.get(), &count, sizeof count);
  run();
}

void TaskQueue::take_posted() noexcept {
  auto* stack = posted_.load(std::memory_order_acquire);
  do {
    if (stack == nullptr || is_closed(stack)) return;
  } while (!posted_.compare_exchange_weak(stack, nullptr, std::memory_order_acquire));
  due_.append_reversed(stack);
}

void TaskQueue::run() noexcept {
  auto most = tasks_per_run_;
  Task reserved;
  if (has_reserved_.load(std::memory_order_acquire)) {
    const MutexLock lock(mutex_);
    reserved = std::exchange(reserved_, nullptr);
    has_reserved_.store(false, std::memory_order_relaxed);
    // All that were posted before it are here, and run before it.
    take_posted();
    due_.append_reversed(std::exchange(before_close_, nullptr));
    most = std::numeric_limits<std::size_t>::max();
  } else {
    take_posted();
  }
  for (; most != 0; --most) {
    const auto due = due_.pop();
    if (due == nullptr) break;
    try {
      due->task();
    } catch (...) {
      // Usually out of memory. The task itself reports it where somebody waits for its result.
    }
  }
  if (reserved) reserved();
}

}  // namespace waystation
