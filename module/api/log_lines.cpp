#include "api/log_lines.hpp"

namespace waystation {

bool LogLines::add(waystation_log_level level, std::string_view line) noexcept {
  if (on_log_ == nullptr) return false;
  try {
    std::string text(line);
    const MutexLock lock(mutex_);
    if (lines_.size() < kMaxLines) {
      lines_.emplace_back(level, std::move(text));
      is_due_.store(true, std::memory_order_release);
      return true;
    }
  } catch (...) {
    // Out of memory: counted as lost, as with a full queue.
  }
  lost_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

void LogLines::deliver() noexcept {
  if (!is_due_.load(std::memory_order_acquire)) return;
  std::vector<Line> batch;
  {
    const MutexLock lock(mutex_);
    batch.swap(lines_);
    is_due_.store(false, std::memory_order_relaxed);
  }
  for (const auto& [level, line] : batch) hand_over(level, line.c_str());
  const auto lost = this->lost();
  if (lost == lost_reported_) return;
  try {
    const auto line = std::to_string(lost - std::exchange(lost_reported_, lost)) +
                      " log lines were lost: on_log was too slow";
    hand_over(WAYSTATION_LOG_WARNING, line.c_str());
  } catch (...) {
    // Out of memory. The lines stay counted and are reported later.
  }
}

void LogLines::hand_over(waystation_log_level level, const char* line) const noexcept {
  try {
    on_log_(user_data_, level, line);
  } catch (...) {
    // An exception of on_log must not end the host application's process.
  }
}

}  // namespace waystation
