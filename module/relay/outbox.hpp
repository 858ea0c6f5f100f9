// The queue of bytes that a socket has to send: bounded, and without memory while empty.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace waystation {

/// Shared by all outboxes of a relay: one limit on their bytes, and reusable memory. One thread.
class OutboxPool {
 public:
  struct Limits {
    std::size_t max_queue_bytes = 1 << 20;          // of one outbox
    std::size_t max_total_queue_bytes = 256 << 20;  // of all
  };

  explicit OutboxPool(const Limits& limits);

  const Limits& limits() const noexcept { return limits_; }
  void set_limits(const Limits& limits) noexcept { limits_ = limits; }
  /// Bytes queued in all outboxes.
  std::size_t queued_bytes() const noexcept { return queued_; }
  /// Whether `size` more bytes are within max_total_queue_bytes.
  bool has_capacity(std::size_t size) const noexcept {
    return queued_ + size <= limits_.max_total_queue_bytes;
  }

 private:
  friend class Outbox;

  /// The memory of an outbox that is not empty.
  struct Block {
    std::unique_ptr<char[]> bytes;
    std::size_t capacity = 0;
    std::size_t head = 0;                // the first byte not sent
    std::size_t tail = 0;                // the end of the queued bytes
    std::vector<std::size_t> unit_ends;  // the end of each unit, in order
    std::size_t first_unit = 0;          // the first unit that is not sent completely
    bool last_is_mergeable = false;
  };

  std::unique_ptr<Block> acquire();
  void release(std::unique_ptr<Block> block) noexcept;

  Limits limits_;
  std::size_t queued_ = 0;
  std::vector<std::unique_ptr<Block>> spare_;
  std::size_t spare_bytes_ = 0;
};

/// A first-in, first-out queue of units (frames). A unit of which a byte was sent is never dropped.
/// One thread.
class Outbox {
 public:
  /// `pool` must outlive the outbox.
  explicit Outbox(OutboxPool& pool) noexcept : pool_(&pool) {}
  ~Outbox();
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  /// Mergeable units next to each other become one, up to 1,024 bytes: the limits do not count the
  /// memory for unit_ends.
  enum class Unit : std::uint8_t { separate, mergeable };

  /// Queues one unit made of `parts`. False, and nothing is queued, beyond the limit of this outbox
  /// or of all outboxes. Throws std::bad_alloc, and nothing is queued.
  bool append(std::initializer_list<std::string_view> parts, Unit kind = Unit::separate);

  /// Queues one unit regardless of the limits: for the 101 and the Close frame. Throws
  /// std::bad_alloc.
  void append_always(std::initializer_list<std::string_view> parts);

  /// The bytes to send next; empty if there are none.
  std::string_view unsent() const noexcept;

  /// Removes the first `count` bytes, which were sent.
  void consume(std::size_t count);

  /// Removes every unit of which no byte was sent.
  void drop_unstarted() noexcept;

  /// Removes everything: for a socket that is closed.
  void discard() noexcept;

  /// The end of the last unit, in bytes since the start of the connection.
  std::uint64_t queued_offset() const noexcept;
  /// The bytes sent since the start of the connection.
  std::uint64_t sent_offset() const noexcept { return sent_; }

 private:
  void put(std::initializer_list<std::string_view> parts, std::size_t size, Unit kind);
  bool can_merge_with_last(std::size_t size) const noexcept;
  void reserve(std::size_t size);
  std::size_t begin_of_started() const noexcept;
  void move_front(std::size_t capacity);
  void release_unused() noexcept;

  OutboxPool* pool_;
  std::unique_ptr<OutboxPool::Block> block_;
  std::uint64_t sent_ = 0;
};

}  // namespace waystation
