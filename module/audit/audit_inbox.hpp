// What other threads hand to the audit's writer: rows, flush requests, and the request to stop.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "audit/row_loss.hpp"
#include "audit/row_queue.hpp"
#include "audit/semaphore.hpp"
#include "relay/observer.hpp"

namespace waystation {

/// One producer of rows (the relay's thread), one consumer (the writer), any number of callers that
/// flush or stop. The producer takes no lock: the writer runs at a low priority, and may be
/// preempted while it holds one.
class AuditInbox {
 public:
  using Clock = std::chrono::steady_clock;

  /// `queue_bytes` bounds the rows that wait. Throws std::bad_alloc.
  explicit AuditInbox(std::size_t queue_bytes) : queue_(queue_bytes) {}

  // ---- the relay's thread

  /// Queues a row, or counts it as lost if the queue is full. Wakes a writer that sleeps.
  void push(const Delivery& delivery) noexcept;

  // ---- any thread

  /// Waits until every row pushed before is committed. False if that took longer than `timeout`, or
  /// request_stop() came first.
  bool flush(std::chrono::milliseconds timeout);

  /// The writer ends once the queue is empty, and after `timeout` in any case. The first call
  /// sets the deadline.
  void request_stop(std::chrono::milliseconds timeout) noexcept;

  const RowQueue& queue() const noexcept { return queue_; }
  const RowLoss& loss() const noexcept { return loss_; }

  // ---- the writer

  RowQueue& queue() noexcept { return queue_; }
  RowLoss& loss() noexcept { return loss_; }

  bool is_stop_requested() const noexcept { return stop_at_.load() != kNever; }
  bool is_flush_requested() const noexcept { return flushing_.load() != 0; }
  /// Whether a caller of flush() waits.
  bool is_urgent() const noexcept { return is_stop_requested() || is_flush_requested(); }
  /// Whether the deadline of the stop has passed.
  bool is_past_deadline() const noexcept { return Clock::now() >= stop_at_.load(); }
  bool has_unrecorded_loss() const noexcept { return loss_.count() != loss_.recorded(); }

  /// Sleeps until `is_wanted()` is true or `time` has come; returns whether it is true.
  template <typename Wanted>
  bool sleep_until(Clock::time_point time, Wanted is_wanted) {
    bool is_time = false;
    while (!is_wanted()) {
      if (is_time) return false;
      is_time = !semaphore_.wait_until(time);
    }
    return true;
  }
  /// Sleeps until there is a row, `time` has come, or a caller waits for the writer.
  void sleep_until_row(Clock::time_point time);

  /// Wakes the callers of flush() after a batch.
  void notify_flushed() noexcept;

 private:
  static constexpr Clock::time_point kNever = Clock::time_point::max();

  RowQueue queue_;
  RowLoss loss_;  // rows that found the queue full
  // Set by the writer before it sleeps on an empty queue; the first row wakes it.
  std::atomic<bool> is_asleep_ = false;
  Semaphore semaphore_;
  std::atomic<Clock::time_point> stop_at_ = kNever;
  std::atomic<int> flushing_ = 0;  // callers inside flush()
  std::mutex flush_mutex_;         // the relay's thread never takes it
  std::condition_variable flushed_;
};

}  // namespace waystation
