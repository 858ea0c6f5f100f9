// Tasks from other threads for the reactor's.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>

#include "base/file_descriptor.hpp"
#include "base/mutex.hpp"
#include "reactor/event_source.hpp"

namespace waystation {

/// Tasks from any thread, run by one thread. descriptor() becomes readable when there are tasks.
///
/// A post takes no lock: its thread may have a lower priority, and then the one thread would wait
/// until it gets a processor again.
class TaskQueue final : public EventSource {
 public:
  using Task = std::function<void()>;

  /// Throws std::system_error where no descriptor can be had.
  TaskQueue();
  /// Drops the tasks that have not run.
  ~TaskQueue();

  /// Any thread. The queue must outlive the call, which may return after its task has run. False,
  /// and the task is not kept, once the queue is closed. Throws std::bad_alloc, and the task is not
  /// kept.
  bool post(Task task);

  /// As post, for a task that must be accepted without any memory left. It captures a pointer at
  /// most. One such task is kept; a further one replaces it if it has not run yet.
  bool post_without_memory(Task task) noexcept;

  /// The one thread: a run with many tasks keeps whatever else the thread does waiting. At first
  /// there is no bound.
  void set_tasks_per_run(std::size_t tasks) noexcept { tasks_per_run_ = tasks; }

  /// The one thread: runs the tasks posted so far, in their order, up to the bound. If the task of
  /// post_without_memory or close is among them, all of them run. An exception ends its task and no
  /// other; a task whose result somebody waits for must catch it. Costs two loads where nothing was
  /// posted, and leaves the descriptor as it is.
  void run() noexcept;

  /// The one thread: whether the last run left tasks. The descriptor may be unreadable
  /// nevertheless.
  bool has_more() const noexcept { return due_.first != nullptr; }

  /// The one thread, when descriptor() is readable: makes it unreadable, and then does what run()
  /// does.
  void on_readable() noexcept;
  void on_events(std::uint32_t) noexcept override { on_readable(); }

  /// Any thread: closes the queue. `last` runs after all tasks posted before, and replaces the task
  /// of post_without_memory. Does nothing if the queue is closed already.
  void close(Task last) noexcept;

  int descriptor() const noexcept { return event_.get(); }

 private:
  struct Posted {
    Task task;
    Posted* next = nullptr;
  };
  /// Owns its tasks.
  struct List {
    List() = default;
    ~List();
    List(const List&) = delete;
    List& operator=(const List&) = delete;
    /// Takes over a stack, whose last task was posted first.
    void append_reversed(Posted* stack) noexcept;
    std::unique_ptr<Posted> pop() noexcept;

    Posted* first = nullptr;
    Posted* last = nullptr;
  };

  bool is_closed(const Posted* stack) const noexcept { return stack == &closed_mark_; }
  void take_posted() noexcept;
  void announce() noexcept;

  FileDescriptor event_;
  // A stack of what was posted, or closed_mark_. A post pushes its task before it makes the
  // descriptor readable, and on_readable() takes the stack after it has read the descriptor: a task
  // whose announcement is read together with an earlier one is taken as well. A run() that is too
  // early for a task is followed by an on_readable(), since the announcement is still to come. Each
  // post announces its task: another one's thread may be waiting for a processor.
  std::atomic<Posted*> posted_ = nullptr;
  Posted closed_mark_;

  Mutex mutex_;
  Task reserved_ WAYSTATION_GUARDED_BY(mutex_);                   // needs no memory
  Posted* before_close_ WAYSTATION_GUARDED_BY(mutex_) = nullptr;  // the stack at the time
  std::atomic<bool> has_reserved_ = false;                        // set with the mutex held

  // The one thread's.
  std::size_t tasks_per_run_ = std::numeric_limits<std::size_t>::max();
  List due_;  // what it has taken and not run yet
};

}  // namespace waystation
