// The queue of bytes that a socket still has to send: bounded, and without memory while empty.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace waystation {

/// What all outboxes of a relay share: one budget of bytes, and the memory they lend. One thread.
class OutboxPool {
 public:
  struct Limits {
    std::size_t max_queue_bytes = 1 << 20;          // of one outbox
    std::size_t max_total_queue_bytes = 256 << 20;  // of all
  };

  explicit OutboxPool(const Limits& limits);

  const Limits& limits() const noexcept { return limits_; }
  void set_limits(const Limits& limits) noexcept { limits_ = limits; }
  /// Bytes waiting in all outboxes.
  std::size_t queued_bytes() const noexcept { return queued_; }
  /// Whether `size` more bytes are within the budget of all together.
  bool has_room(std::size_t size) const noexcept {
    return queued_ + size <= limits_.max_total_queue_bytes;
  }

 private:
  friend class Outbox;

  /// Memory lent to an outbox that has something to send.
  struct Block {
    std::unique_ptr<char[]> bytes;
    std::size_t capacity = 0;
    std::size_t head = 0;                // first byte not sent
    std::size_t tail = 0;                // behind the last byte queued
    std::vector<std::size_t> unit_ends;  // where each unit ends, in order
    std::size_t first_unit = 0;          // the first of them that is not wholly sent
    bool last_joins = false;
  };

  std::unique_ptr<Block> lend();
  void take_back(std::unique_ptr<Block> block) noexcept;

  Limits limits_;
  std::size_t queued_ = 0;
  std::vector<std::unique_ptr<Block>> spare_;
  std::size_t spare_bytes_ = 0;
};

/// A first-in, first-out queue of units (frames), sent byte by byte but never cut for good: what
/// was begun can always be completed. One thread.
class Outbox {
 public:
  /// `pool` must outlive the outbox.
  explicit Outbox(OutboxPool& pool) noexcept : pool_(&pool) {}
  ~Outbox();
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  /// Whether a unit may become one with those queued before and after it that may, up to a thousand
  /// bytes: memory for where each ends is in no bound.
  enum class Unit : std::uint8_t { stands_alone, joins };

  /// Queues one unit made of `parts`, whole or not at all. False where that would pass the bound
  /// of this outbox or of all together. Throws std::bad_alloc, and nothing was queued.
  bool append(std::initializer_list<std::string_view> parts, Unit kind = Unit::stands_alone);

  /// Queues one unit whatever the bounds say. For what must be said last, such as a Close frame.
  void append_always(std::initializer_list<std::string_view> parts);

  /// The bytes to send next; empty when there are none.
  std::string_view unsent() const noexcept;

  /// Takes the first `count` bytes off the queue: they were sent.
  void consume(std::size_t count);

  /// Takes back every unit of which no byte was sent.
  void drop_unbegun() noexcept;

  /// Takes back everything, what was begun included. For a socket that is closed.
  void discard() noexcept;

  /// How many bytes were ever queued, less those taken back: where the last unit ends.
  std::uint64_t queued_offset() const noexcept;
  /// How many bytes were ever consumed.
  std::uint64_t sent_offset() const noexcept { return sent_; }

 private:
  void put(std::initializer_list<std::string_view> parts, std::size_t size, Unit kind);
  bool may_join_last(std::size_t size) const noexcept;
  void make_room(std::size_t size);
  std::size_t begin_of_begun() const noexcept;
  void move_front(std::size_t capacity);
  void give_back_unused() noexcept;

  OutboxPool* pool_;
  std::unique_ptr<OutboxPool::Block> block_;
  std::uint64_t sent_ = 0;
};

}  // namespace waystation
