#include "audit/audit_inbox.hpp"

namespace waystation {

void AuditInbox::push(const Delivery& delivery) noexcept {
  if (!queue_.push(delivery)) return loss_.add(delivery.at);
  if (!is_asleep_.load(std::memory_order_seq_cst)) return;
  // One wake-up for each time that the writer fell asleep.
  is_asleep_.store(false, std::memory_order_relaxed);
  semaphore_.post();
}

bool AuditInbox::flush(std::chrono::milliseconds timeout) {
  const auto rows = queue_.rows_in();
  const auto lost = loss_.count();
  std::unique_lock lock(flush_mutex_);
  ++flushing_;
  semaphore_.post();
  const auto is_done = [&] { return queue_.rows_out() >= rows && loss_.recorded() >= lost; };
  flushed_.wait_for(lock, timeout, [&] { return is_done() || is_stop_requested(); });
  --flushing_;
  return is_done();
}

void AuditInbox::request_stop(std::chrono::milliseconds timeout) noexcept {
  auto expected = kNever;
  stop_at_.compare_exchange_strong(expected, Clock::now() + timeout);
  semaphore_.post();
  notify_flushed();
}

void AuditInbox::sleep_until_row(Clock::time_point time) {
  sleep_until(time, [this] {
    // Set in each round: a producer that saw it set for an earlier row may clear it only now.
    is_asleep_.store(true, std::memory_order_seq_cst);
    return queue_.size() != 0 || is_urgent();
  });
  is_asleep_.store(false, std::memory_order_relaxed);
}

void AuditInbox::notify_flushed() noexcept {
  // A caller that has just found its rows missing waits by the time the lock is free.
  { const std::lock_guard lock(flush_mutex_); }
  flushed_.notify_all();
}

}  // namespace waystation
