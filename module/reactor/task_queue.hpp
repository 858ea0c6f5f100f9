// How other threads speak to the reactor's.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "reactor/event_source.hpp"
#include "reactor/file_descriptor.hpp"
#include "reactor/mutex.hpp"

namespace waystation {

/// Tasks from any thread, run by one. descriptor() becomes readable when there are any.
class TaskQueue final : public EventSource {
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
  /// waits for its answer must learn from the task itself that there is none. Costs one load where
  /// nothing was posted, and leaves the descriptor as it is.
  void run() noexcept;

  /// The one thread, when descriptor() is readable: makes it unreadable, and then runs what was
  /// posted up to now.
  void on_readable() noexcept;
  void on_events(std::uint32_t) noexcept override { on_readable(); }

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
  // Whether tasks_ or reserved_ holds a task. Written with the mutex held, read without. A post
  // sets it before it makes the descriptor readable, and on_readable() reads it after the
  // descriptor: a wake-up whose announcement is taken away there is seen here. A run() that reads
  // it too early is followed by an on_readable(), since the announcement is still to come.
  std::atomic<bool> is_posted_ = false;
  std::vector<Task> running_;
};

}  // namespace waystation
