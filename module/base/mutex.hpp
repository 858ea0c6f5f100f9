// A mutex with annotations for clang's thread-safety analysis (-Wthread-safety).
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define WAYSTATION_THREAD_SAFETY(attribute) __attribute__((attribute))
#else
#define WAYSTATION_THREAD_SAFETY(attribute)
#endif

/// The data may be accessed only while the mutex is held.
#define WAYSTATION_GUARDED_BY(mutex) WAYSTATION_THREAD_SAFETY(guarded_by(mutex))
/// The function may be called only while the mutex is held.
#define WAYSTATION_REQUIRES(mutex) WAYSTATION_THREAD_SAFETY(requires_capability(mutex))

namespace waystation {

class WAYSTATION_THREAD_SAFETY(capability("mutex")) Mutex {
 public:
  void lock() WAYSTATION_THREAD_SAFETY(acquire_capability()) { mutex_.lock(); }
  void unlock() WAYSTATION_THREAD_SAFETY(release_capability()) { mutex_.unlock(); }

 private:
  friend class Condition;
  std::mutex mutex_;
};

/// Holds a mutex for its own lifetime.
class WAYSTATION_THREAD_SAFETY(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) WAYSTATION_THREAD_SAFETY(acquire_capability(mutex))
      : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() WAYSTATION_THREAD_SAFETY(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

/// A condition variable for threads that hold a Mutex.
class Condition {
 public:
  void wait(Mutex& mutex) WAYSTATION_REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  /// False after `time`.
  bool wait_until(Mutex& mutex, std::chrono::steady_clock::time_point time)
      WAYSTATION_REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    const auto woken = condition_.wait_until(lock, time);
    lock.release();
    return woken == std::cv_status::no_timeout;
  }
  void notify_one() noexcept { condition_.notify_one(); }
  void notify_all() noexcept { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace waystation
