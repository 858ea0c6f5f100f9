// A thread for work that the reactor must not wait for: callbacks of the host application, and
// signatures.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.hpp"

namespace waystation {

/// Runs jobs in order, one at a time, from a bounded queue.
class Dispatcher {
 public:
  using Job = std::function<void()>;

  /// `max_jobs` is the capacity of the queue. `name` is the thread's name, at most 15 characters.
  /// The thread runs `between` before and after each job, after wake(), and before it ends. Throws
  /// std::system_error if no thread can be created.
  explicit Dispatcher(
      std::size_t max_jobs, const char* name = "waystation-call", Job between = [] {});
  /// Stops without running the jobs that wait.
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  /// Adds a job. Any thread; never waits for a job. False if the queue is full or stopped. Throws
  /// std::bad_alloc, and then does not add the job. An exception of a job ends only that job.
  bool post(Job job);

  /// Runs `between` before the next job. Any thread.
  void wake() noexcept;

  /// Accepts no more jobs, waits for the running job without a limit, and ends the thread. Waiting
  /// jobs still start within `timeout`. Returns the number of jobs that did not run. The thread
  /// passes this number to `last`, if it is set, before it ends. Any thread but its own. A second
  /// call does nothing.
  using Last = std::function<void(std::size_t abandoned)>;
  std::size_t stop(std::chrono::milliseconds timeout, const Last& last = nullptr);

  bool is_own_thread() const noexcept { return std::this_thread::get_id() == id_; }

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  void run(const Job& job) noexcept;
  bool take(std::vector<Job>& batch);
  bool may_start() const noexcept;

  const std::size_t max_jobs_;
  const Job between_;
  std::atomic<std::size_t> waiting_ = 0;  // posted and not started
  std::atomic<Clock::rep> end_by_ = 0;    // no job starts after this; 0: not stopping
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
