// Which messages are on their way through one socket, without what they say.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "relay/outgoing.hpp"

namespace waystation {

/// The deliveries that a socket's queue took and its peer's kernel has not acknowledged. One
/// thread.
class DeliveryLedger {
 public:
  struct Entry {
    std::uint64_t end_offset;  // where in the socket's stream its last byte is
    std::int64_t at;
    std::size_t bytes;
    std::string group;  // empty: the appliance's own, or the socket's group where it has one
    std::string id;     // empty: none was given
    bool to_lo;         // of the group's two users, the first was the receiver
  };

  /// A message whose last byte is at `end_offset`. `keep_group` where the socket itself does not
  /// say which group it was. Throws std::bad_alloc, and it was not added.
  void add(std::uint64_t end_offset, const Message& message, bool keep_group);

  /// Forgets what ends at or before `offset`: it arrived.
  void acknowledge(std::uint64_t offset) noexcept;

  /// Takes out what ends beyond `offset`, calling `lost(const Entry&)` for each, oldest first.
  template <typename F>
  void lose_beyond(std::uint64_t offset, F&& lost) noexcept {
    if (entries_ == nullptr) return;
    const auto first = std::ranges::upper_bound(*entries_, offset, {}, &Entry::end_offset);
    for (auto entry = first; entry != entries_->end(); ++entry) lost(std::as_const(*entry));
    entries_->erase(first, entries_->end());
    if (entries_->empty()) entries_.reset();
  }

  std::size_t size() const noexcept { return entries_ == nullptr ? 0 : entries_->size(); }

 private:
  // Behind a pointer, so that the many sockets that wait for nothing hold no memory for it.
  std::unique_ptr<std::deque<Entry>> entries_;
};

}  // namespace waystation
