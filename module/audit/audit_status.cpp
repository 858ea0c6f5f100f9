#include "audit/audit_status.hpp"

#include <algorithm>
#include <utility>

#include "base/clock.hpp"

namespace waystation {

AuditState AuditStatus::set_state(AuditState state, std::string fault) noexcept {
  const MutexLock lock(mutex_);
  fault_.swap(fault);
  return std::exchange(state_, state);
}

void AuditStatus::count_written(std::uint64_t rows) noexcept {
  rows_written_.fetch_add(rows, std::memory_order_relaxed);
}

void AuditStatus::count_abandoned(std::uint64_t rows) noexcept {
  rows_abandoned_.fetch_add(rows, std::memory_order_relaxed);
}

void AuditStatus::set_file_bytes(std::uint64_t bytes) noexcept {
  file_bytes_.store(bytes, std::memory_order_relaxed);
}

void AuditStatus::set_waiting_since(std::int64_t at) noexcept {
  waiting_since_.store(at, std::memory_order_relaxed);
}

AuditState AuditStatus::state() const noexcept {
  const MutexLock lock(mutex_);
  return state_;
}

std::uint64_t AuditStatus::rows_lost(const AuditInbox& inbox) const noexcept {
  return static_cast<std::uint64_t>(inbox.loss().count()) +
         rows_abandoned_.load(std::memory_order_relaxed);
}

AuditHealth AuditStatus::health() const {
  const MutexLock lock(mutex_);
  return {state_, fault_};
}

AuditStats AuditStatus::read(const AuditInbox& inbox) const noexcept {
  AuditStats stats;
  stats.state = state();
  stats.rows_written = rows_written_.load(std::memory_order_relaxed);
  stats.rows_lost = rows_lost(inbox);
  stats.rows_waiting = inbox.queue().size();
  stats.file_bytes = file_bytes_.load(std::memory_order_relaxed);
  const auto since = waiting_since_.load(std::memory_order_relaxed);
  if (since != 0 && stats.rows_waiting != 0) {
    stats.lag_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(wall_clock_ms() - since, 0));
  }
  return stats;
}

}  // namespace waystation
