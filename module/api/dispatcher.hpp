// A thread for what the reactor may not wait for: other people's code, and signatures.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

#include "reactor/mutex.hpp"

namespace waystation {

/// Runs jobs in order, one at a time, from a bounded queue.
class Dispatcher {
 public:
  using Job = std::function<void()>;

  /// `max_jobs` is how many may wait, `name` the thread's, at most 15 characters. `between` is run
  /// on it before and after each job, after wake(), and as the last thing there is. Throws
  /// std::system_error where no thread can be had.
  explicit Dispatcher(
      std::size_t max_jobs, const char* name = "waystation-call", Job between = [] {});
  /// Stops without patience.
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  /// Any thread; never waits for a job. False, and the job is not kept, where the queue is full or
  /// stopped. Throws std::bad_alloc likewise. What a job throws ends that job alone.
  bool post(Job job);

  /// Any thread: lets `between` be run soon, however many jobs wait.
  void wake() noexcept;

  /// Any thread but its own: takes nothing more, waits for the job that is running, however long
  /// it takes, and ends the thread. Of the jobs that wait, those are run that can be begun within
  /// `patience`; returns how many were not. `last`, if it is there, is told that number on the
  /// thread before it ends. Legal twice; then nothing is left to be done.
  using Last = std::function<void(std::size_t abandoned)>;
  std::size_t stop(std::chrono::milliseconds patience, const Last& last = nullptr);

  bool is_own_thread() const noexcept { return std::this_thread::get_id() == id_; }

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  void run(const Job& job) noexcept;
  bool take(std::vector<Job>& batch);
  bool may_begin() const noexcept;

  const std::size_t max_jobs_;
  const Job between_;
  std::atomic<std::size_t> waiting_ = 0;  // posted and not begun
  std::atomic<Clock::rep> end_by_ = 0;    // no job is begun after this; 0: not stopping
  std::size_t abandoned_ = 0;             // written by the thread before it ends
  Mutex mutex_;
  Condition wake_;
  std::vector<Job> jobs_ WAYSTATION_GUARDED_BY(mutex_);
  bool is_idle_ WAYSTATION_GUARDED_BY(mutex_) = false;
  bool is_woken_ WAYSTATION_GUARDED_BY(mutex_) = false;
  bool stopping_ WAYSTATION_GUARDED_BY(mutex_) = false;
  const Last* last_ WAYSTATION_GUARDED_BY(mutex_) = nullptr;  // lives until stop() returns
  std::thread thread_;
  std::thread::id id_;
};

}  // namespace waystation
