// Tasks from other threads for the reactor's.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/file_descriptor.hpp"
#include "base/mutex.hpp"
#include "reactor/event_source.hpp"

namespace waystation {

/// Tasks from any thread, run by one thread. descriptor() becomes readable when there are tasks.
class TaskQueue final : public EventSource {
 public:
  using Task = std::function<void()>;

  /// Throws std::system_error where no descriptor can be had.
  TaskQueue();

  /// Any thread. False, and the task is not kept, once the queue is closed. Throws std::bad_alloc,
  /// and the task is not kept.
  bool post(Task task);

  /// As post, for a task that must be accepted without any memory left. It captures a pointer at
  /// most. One such task is kept; a further one replaces it if it has not run yet.
  bool post_without_memory(Task task) noexcept;

  /// The one thread: runs the tasks posted so far. An exception ends its task and no other; a task
  /// whose result somebody waits for must catch it. Costs one load where nothing was posted, and
  /// leaves the descriptor as it is.
  void run() noexcept;

  /// The one thread, when descriptor() is readable: makes it unreadable, and then runs the tasks
  /// posted so far.
  void on_readable() noexcept;
  void on_events(std::uint32_t) noexcept override { on_readable(); }

  /// Any thread: closes the queue. `last` runs after all tasks posted before, and replaces the task
  /// of post_without_memory. Does nothing if the queue is closed already.
  void close(Task last) noexcept;

  int descriptor() const noexcept { return event_.get(); }

 private:
  void announce() noexcept;

  FileDescriptor event_;
  Mutex mutex_;
  std::vector<Task> tasks_ WAYSTATION_GUARDED_BY(mutex_);
  Task reserved_ WAYSTATION_GUARDED_BY(mutex_);  // not in tasks_, so that it needs no memory
  bool closed_ WAYSTATION_GUARDED_BY(mutex_) = false;
  // Whether tasks_ or reserved_ holds a task. Written with the mutex held, read without. A post
  // sets it before it makes the descriptor readable, and on_readable() reads it after the
  // descriptor: a wake-up whose announcement is taken away there is seen here. A run() that reads
  // it too early is followed by an on_readable(), since the announcement is still to come.
  std::atomic<bool> is_posted_ = false;
  std::vector<Task> running_;
};

}  // namespace waystation
