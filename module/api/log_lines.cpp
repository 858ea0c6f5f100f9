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
    // Out of memory: lost like one that there was no room for.
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
  if (lost == lost_told_) return;
  try {
    const auto line = std::to_string(lost - std::exchange(lost_told_, lost)) +
                      " lines were left out of the log: they came faster than on_log took them";
    hand_over(WAYSTATION_LOG_WARNING, line.c_str());
  } catch (...) {
    // Out of memory. They stay counted.
  }
}

void LogLines::hand_over(waystation_log_level level, const char* line) const noexcept {
  try {
    on_log_(user_data_, level, line);
  } catch (...) {
    // Not ours to judge, and not the host's process's end.
  }
}

}  // namespace waystation
