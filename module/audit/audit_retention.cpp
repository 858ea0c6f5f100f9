#include "audit/audit_retention.hpp"

#include <utility>

#include "base/clock.hpp"

namespace waystation {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kMsPerDay = 86'400'000;
// Rows that one step deletes, and pages that one releases.
constexpr std::size_t kStepRows = 500;
constexpr std::int64_t kStepPages = 64;
// How often the age of the oldest rows is checked.
constexpr auto kAgeInterval = 60s;

}  // namespace

AuditRetention::AuditRetention(std::uint32_t days, std::uint64_t max_bytes,
                               std::function<bool()> should_stop)
    : should_stop_(std::move(should_stop)), days_(days), max_bytes_(max_bytes) {}

void AuditRetention::set_limits(std::uint32_t days, std::uint64_t max_bytes) noexcept {
  days_.store(days, std::memory_order_relaxed);
  max_bytes_.store(max_bytes, std::memory_order_relaxed);
  is_changed_ = true;
}

std::int64_t AuditRetention::oldest_kept() const noexcept {
  const auto days = days_.load(std::memory_order_relaxed);
  return days == 0 ? 0 : wall_clock_ms() - days * kMsPerDay;
}

std::int64_t AuditRetention::max_bytes() const noexcept {
  return static_cast<std::int64_t>(max_bytes_.load(std::memory_order_relaxed));
}

/// Once the file was too large it counts as such until it is a little smaller than its limit;
/// otherwise each batch would find something to delete.
bool AuditRetention::is_over_size(AuditStore& store) {
  const auto limit = max_bytes();
  is_over_size_ = limit != 0 && store.used_bytes() > limit - (is_over_size_ ? limit / 32 : 0);
  return is_over_size_;
}

void AuditRetention::delete_oldest(AuditStore& store, std::size_t rows) {
  for (std::size_t deleted = 0; deleted <= rows && !should_stop_() && is_over_size(store);
       deleted += kStepRows) {
    if (store.delete_oldest(kStepRows) == 0) {
      is_over_size_ = false;  // a file without rows cannot get smaller
      return;
    }
  }
}

void AuditRetention::delete_expired(AuditStore& store, std::size_t rows) {
  const auto oldest = oldest_kept();
  has_expired_ = oldest != 0;
  for (std::size_t deleted = 0; has_expired_ && deleted <= rows && !should_stop_();
       deleted += kStepRows) {
    has_expired_ = store.delete_before(oldest, kStepRows) == kStepRows;
  }
}

void AuditRetention::release_pages(AuditStore& store) {
  has_free_pages_ = false;
  const auto limit = max_bytes();
  const auto before = store.file_bytes();
  if (limit == 0 || before <= limit || before <= store.used_bytes()) return;
  store.shrink(kStepPages);
  has_free_pages_ = store.file_bytes() < before;
}

void AuditRetention::make_space(AuditStore& store, std::size_t rows) {
  // Twice the new rows: the file may hold expired ones already.
  delete_oldest(store, 2 * rows);
  if (has_expired_) delete_expired(store, 2 * rows);
}

bool AuditRetention::run_step(AuditStore& store) {
  const bool had_work = has_work();
  const auto now = Clock::now();
  if (has_expired_ || now >= next_age_check_ || is_changed_.exchange(false)) {
    store.begin();
    delete_expired(store, 0);
    store.commit();
    next_age_check_ = now + kAgeInterval;
  }
  if (is_over_size(store)) {
    store.begin();
    delete_oldest(store, 0);
    store.commit();
  }
  release_pages(store);
  return had_work && !has_work();
}

}  // namespace waystation
