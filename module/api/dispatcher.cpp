#include "api/dispatcher.hpp"

#include <utility>

#include "base/thread.hpp"

namespace waystation {

Dispatcher::Dispatcher(std::size_t max_jobs, const char* name, Job between)
    : max_jobs_(max_jobs),
      between_(std::move(between)),
      thread_(start_thread(name, [this] { run(); })) {
  id_ = thread_.get_id();
}

Dispatcher::~Dispatcher() {
  stop(std::chrono::milliseconds(0));
}

bool Dispatcher::post(Job job) {
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    if (stopping_ || waiting_.load(std::memory_order_relaxed) >= max_jobs_) return false;
    jobs_.push_back(std::move(job));
    waiting_.fetch_add(1, std::memory_order_relaxed);
    wake = std::exchange(is_idle_, false);
  }
  if (wake) wake_.notify_one();
  return true;
}

void Dispatcher::wake() noexcept {
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    is_woken_ = true;
    wake = std::exchange(is_idle_, false);
  }
  if (wake) wake_.notify_one();
}

bool Dispatcher::take(std::vector<Job>& batch) {
  const MutexLock lock(mutex_);
  while (jobs_.empty() && !is_woken_ && !stopping_) {
    is_idle_ = true;
    wake_.wait(mutex_);
  }
  is_woken_ = false;
  batch.swap(jobs_);
  return !batch.empty() || !stopping_;
}

bool Dispatcher::may_start() const noexcept {
  const auto end_by = end_by_.load(std::memory_order_relaxed);
  return end_by == 0 || Clock::now().time_since_epoch().count() < end_by;
}

void Dispatcher::run() {
  std::vector<Job> batch;
  while (take(batch)) {
    run(between_);
    for (auto& job : batch) {
      waiting_.fetch_sub(1, std::memory_order_relaxed);
      if (!may_start()) {
        ++abandoned_;
        continue;
      }
      run(job);
      job = nullptr;
      run(between_);
    }
    batch.clear();
  }
  const Last* last = nullptr;
  {
    const MutexLock lock(mutex_);
    last = last_;
  }
  if (last != nullptr && *last) run([&] { (*last)(abandoned_); });
  run(between_);
}

void Dispatcher::run(const Job& job) noexcept {
  try {
    job();
  } catch (...) {
    // An exception of a callback must not end the host application's process.
  }
}

std::size_t Dispatcher::stop(std::chrono::milliseconds timeout, const Last& last) {
  if (thread_.joinable()) {
    end_by_.store((Clock::now() + timeout).time_since_epoch().count(), std::memory_order_relaxed);
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
      last_ = &last;
    }
    wake_.notify_one();
    thread_.join();
  }
  return std::exchange(abandoned_, 0);
}

}  // namespace waystation
