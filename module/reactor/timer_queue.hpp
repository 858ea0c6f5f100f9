// Deadlines, soonest first.
#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <vector>

namespace waystation {

/// A queue of deadlines and whom they concern. Nothing is ever taken out before its time: who
/// gets a nearer deadline is added again, and knows by the deadline which of its entries still
/// counts. One thread.
class TimerQueue {
 public:
  struct Entry {
    std::int64_t deadline_ms;
    std::uint64_t id;
    bool operator>(const Entry& other) const noexcept { return deadline_ms > other.deadline_ms; }
  };

  void add(const Entry& entry) { heap_.push(entry); }

  /// Forgets all of them.
  void clear() noexcept { heap_ = {}; }

  /// The soonest deadline.
  std::optional<std::int64_t> next() const;

  /// Takes out one entry whose deadline is not after `now_ms`.
  std::optional<Entry> pop_due(std::int64_t now_ms);

 private:
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> heap_;
};

}  // namespace waystation
