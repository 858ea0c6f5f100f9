// The audit's writer: what it takes out of the file, and when it moves the log into it.
#include <algorithm>
#include <utility>

#include "audit/audit.hpp"
#include "audit/audit_words.hpp"

namespace waystation {
namespace {

using namespace std::chrono_literals;

// Rows that one step of retention takes out, and the pages that one gives back.
constexpr std::size_t kTidyRows = 500;
constexpr std::int64_t kTidyPages = 64;
// How often the oldest rows are looked at.
constexpr auto kAgeInterval = 60s;
// How long rows stay in the log alone, where a copy of the file misses them and it takes room.
constexpr auto kSettleInterval = 2s;
// With no more of them waiting, there is time for that.
constexpr std::uint64_t kFewRows = 1000;

}  // namespace

/// Whether the file is larger than it may be; once it was, until it is somewhat smaller, so that
/// there is not something to take out each time.
bool Audit::is_over_size() {
  const auto max_bytes = static_cast<std::int64_t>(max_bytes_.load(std::memory_order_relaxed));
  is_over_size_ =
      max_bytes != 0 && store_->used_bytes() > max_bytes - (is_over_size_ ? max_bytes / 32 : 0);
  return is_over_size_;
}

/// Takes out so many of the oldest rows, and some more, as long as the file is too large.
void Audit::retire_oldest(std::size_t rows) {
  for (std::size_t retired = 0; retired <= rows && !is_late() && is_over_size();
       retired += kTidyRows) {
    if (store_->retire_oldest(kTidyRows) == 0) {
      is_over_size_ = false;  // a file without rows is as small as it gets
      return;
    }
  }
}

/// Takes out so many of the rows that are too old, and some more, as far as there are any.
void Audit::retire_old(std::size_t rows) {
  const auto days = retention_days_.load(std::memory_order_relaxed);
  has_too_old_ = days != 0;
  for (std::size_t retired = 0; has_too_old_ && retired <= rows && !is_late();
       retired += kTidyRows) {
    has_too_old_ = store_->retire_before(wall_ms() - days * kMsPerDay, kTidyRows) == kTidyRows;
  }
}

/// One small step of retention; rows that came go first.
void Audit::tidy() {
  if (is_late()) return;
  if (queue_.size() == 0) store_->release_memory();
  const auto now = Clock::now();
  const bool was_busy = is_over_size_ || has_too_old_ || has_unused_;
  if (has_too_old_ || now >= next_age_check_ || is_retention_new_.exchange(false)) {
    store_->begin();
    retire_old(0);
    store_->commit();
    next_age_check_ = now + kAgeInterval;
  }
  if (is_over_size()) {
    store_->begin();
    retire_oldest(0);
    store_->commit();
  }
  const auto max_bytes = static_cast<std::int64_t>(max_bytes_.load(std::memory_order_relaxed));
  auto file = store_->file_bytes();
  has_unused_ = false;
  if (max_bytes != 0 && file > max_bytes && file > store_->used_bytes()) {
    store_->shrink(kTidyPages);
    const auto before = std::exchange(file, store_->file_bytes());
    has_unused_ = file < before;
  }
  // At once after the last step, which is what makes the file smaller.
  const bool is_done = was_busy && !(is_over_size_ || has_too_old_ || has_unused_);
  if (is_done || (now >= next_settling_ && queue_.size() < kFewRows)) {
    store_->settle_log();
    next_settling_ = now + kSettleInterval;
  }
  file_bytes_.store(store_->disk_bytes(), std::memory_order_relaxed);
}

std::int64_t Audit::max_log_bytes() const noexcept {
  const auto max_bytes = static_cast<std::int64_t>(max_bytes_.load(std::memory_order_relaxed));
  return max_bytes == 0 ? 4 * options_.log_bytes : std::max(options_.log_bytes, max_bytes / 4);
}

}  // namespace waystation
