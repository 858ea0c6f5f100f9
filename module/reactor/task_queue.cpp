#include "reactor/task_queue.hpp"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace waystation {

TaskQueue::TaskQueue() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_) throw std::system_error(errno, std::system_category(), "eventfd");
}

bool TaskQueue::post(Task task) {
  bool first = false;
  {
    const MutexLock lock(mutex_);
    if (closed_) return false;
    tasks_.push_back(std::move(task));
    first = tasks_.size() == 1;
    is_posted_.store(true, std::memory_order_release);
  }
  if (first) announce();
  return true;
}

bool TaskQueue::post_without_memory(Task task) noexcept {
  {
    const MutexLock lock(mutex_);
    if (closed_) return false;
    reserved_ = std::move(task);
    is_posted_.store(true, std::memory_order_release);
  }
  announce();
  return true;
}

void TaskQueue::close(Task last) noexcept {
  {
    const MutexLock lock(mutex_);
    if (closed_) return;
    closed_ = true;
    reserved_ = std::move(last);
    is_posted_.store(true, std::memory_order_release);
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

void TaskQueue::run() noexcept {
  if (!is_posted_.load(std::memory_order_acquire)) return;
  Task reserved;
  {
    const MutexLock lock(mutex_);
    running_.swap(tasks_);
    reserved = std::exchange(reserved_, nullptr);
    is_posted_.store(false, std::memory_order_relaxed);
  }
  for (auto& task : running_) {
    try {
      task();
    } catch (...) {
      // Usually out of memory. The task itself reports it where somebody waits for its result.
    }
  }
  running_.clear();
  if (reserved) reserved();
}

}  // namespace waystation
