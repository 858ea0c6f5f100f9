// Deadlines, soonest first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>

namespace waystation {

/// The deadlines of those that have an id, each of which has one at most: memory follows how many
/// they are, however often they change their minds. One thread.
class TimerQueue {
 public:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  struct Entry {
    std::int64_t deadline_ms;
    std::uint64_t id;
    friend auto operator<=>(const Entry&, const Entry&) = default;
  };

  /// Gives `id` the deadline `to_ms` instead of `from_ms`; kNever is none. Throws std::bad_alloc
  /// where it had none before, and nothing else.
  void move(std::uint64_t id, std::int64_t from_ms, std::int64_t to_ms);

  /// The soonest.
  std::optional<Entry> next() const noexcept;

  std::size_t size() const noexcept { return entries_.size(); }

 private:
  std::set<Entry> entries_;
};

}  // namespace waystation
