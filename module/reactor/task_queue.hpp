// How other threads speak to the reactor's.
#pragma once

#include <functional>
#include <vector>

#include "reactor/file_descriptor.hpp"
#include "reactor/mutex.hpp"

namespace waystation {

/// Tasks from any thread, run by one. descriptor() becomes readable when there are any.
class TaskQueue {
 public:
  using Task = std::function<void()>;

  /// Throws std::system_error where no descriptor can be had.
  TaskQueue();

  /// Any thread. False, and the task is not kept, once the queue is closed. Throws std::bad_alloc,
  /// and the task is not kept.
  bool post(Task task);

  /// As post, for a task that must be taken also where there is no memory: one that captures a
  /// pointer at most. There is room for one. A further one takes its place if it has not run yet.
  bool post_without_memory(Task task) noexcept;

  /// The one thread: runs what was posted up to now. What a task throws ends that task alone; who
  /// waits for its answer must learn from the task itself that there is none.
  void run() noexcept;

  /// Any thread: closes the queue, and `last` is run behind all that was posted before. Takes the
  /// place of what post_without_memory posted. Nothing where the queue is closed already.
  void close(Task last) noexcept;

  int descriptor() const noexcept { return event_.get(); }

 private:
  void announce() noexcept;

  FileDescriptor event_;
  Mutex mutex_;
  std::vector<Task> tasks_ WAYSTATION_GUARDED_BY(mutex_);
  Task reserved_ WAYSTATION_GUARDED_BY(mutex_);  // not in tasks_, so that it needs no memory
  bool closed_ WAYSTATION_GUARDED_BY(mutex_) = false;
  std::vector<Task> running_;
};

}  // namespace waystation
