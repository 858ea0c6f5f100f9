// The messages under way through one socket, without their content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "relay/message.hpp"

namespace waystation {

/// The deliveries that a socket's queue took and its peer's kernel has not acknowledged. They are
/// kept in one piece of memory, which is freed when there are none. One thread.
class DeliveryLedger {
 public:
  struct Entry {
    std::uint64_t end_offset;  // where in the socket's stream its last byte is
    std::int64_t at;
    std::size_t bytes;
    std::string_view group;  // empty: the appliance's own, or the socket's group where it has one
    std::string_view id;     // empty: none was given
    Side to_side;            // the receiver, one of the two users of the group
    std::uint64_t key;       // Message::key
    std::uint32_t taken;     // Message::taken
  };

  /// Adds a message whose last byte is at `end_offset`, which must grow. `keep_group`: the group is
  /// stored, because the socket does not determine it. Throws std::bad_alloc, and nothing was
  /// added.
  void add(std::uint64_t end_offset, const Message& message, bool keep_group);

  /// Corrects `taken` of the entry that was added last, if it has this key.
  void set_taken(std::uint64_t key, std::uint32_t sockets) noexcept;

  /// Removes the entries that end at or before `offset`: they arrived.
  void acknowledge(std::uint64_t offset) noexcept;

  /// Removes the entries that end beyond `offset`, and calls `lost(const Entry&)` for each, oldest
  /// first. The views of the entry are valid during the call.
  template <typename F>
  void lose_beyond(std::uint64_t offset, F&& lost) noexcept {
    auto at = head_;
    for (; at != tail_; at += record_at(at).size()) {
      if (record_at(at).end_offset > offset) break;
      // Entries that have arrived stay until acknowledge() removes them.
    }
    const auto first_lost = at;
    for (; at != tail_; at += record_at(at).size(), --count_) lost(entry_at(at));
    tail_ = first_lost;
    release_if_empty();
  }

  std::size_t size() const noexcept { return count_; }
  /// The memory of all entries.
  std::size_t used_bytes() const noexcept { return tail_ - head_; }

 private:
  /// The fixed part of an entry in memory; the group and the id follow it.
  struct Record {
    std::uint64_t end_offset;
    std::int64_t at;
    std::uint64_t key;
    std::uint32_t bytes;
    std::uint32_t taken;
    std::uint8_t group_bytes;
    std::uint8_t id_bytes;
    Side to_side;

    std::uint32_t size() const noexcept {
      return static_cast<std::uint32_t>(sizeof(Record)) + group_bytes + id_bytes;
    }
  };

  Record record_at(std::uint32_t at) const noexcept;
  Entry entry_at(std::uint32_t at) const noexcept;
  void reserve(std::uint32_t size);
  void release_if_empty() noexcept;

  std::unique_ptr<char[]> memory_;
  std::uint32_t capacity_ = 0;
  std::uint32_t head_ = 0;  // where the oldest entry begins
  std::uint32_t tail_ = 0;  // behind the newest
  // Where the entry begins that add() added last; outside [head_, tail_) if it was removed.
  std::uint32_t newest_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace waystation
