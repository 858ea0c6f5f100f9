// Rows on their way from the relay's thread to the audit's writer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "relay/observer.hpp"

namespace waystation {

/// A ring buffer of bytes for one producer and one consumer, without locks or allocations. The
/// consumer releases rows only after they are committed, so that a failed batch can be retried.
class RowQueue {
 public:
  /// `bytes` is rounded up to a power of two. Pages become resident when they are used. Throws
  /// std::bad_alloc.
  explicit RowQueue(std::size_t bytes);
  RowQueue(const RowQueue&) = delete;
  RowQueue& operator=(const RowQueue&) = delete;

  // ---- the producer

  /// False if the queue is full, or if a name is longer than 255 bytes.
  bool push(const Delivery& row) noexcept;

  // ---- the consumer

  /// A position in the queue.
  class Cursor {
    friend class RowQueue;
    std::uint64_t position = 0;
    std::uint64_t rows = 0;  // before it, since the queue was created
  };

  /// The oldest row that is not released.
  Cursor begin() const noexcept { return released_; }
  /// Returns the row at `cursor` and advances it; nothing at the end. Its views are valid until the
  /// row is released.
  std::optional<Delivery> next(Cursor& cursor) const noexcept;
  /// Releases all rows before `cursor`.
  void release(const Cursor& cursor) noexcept;

  // ---- any thread

  /// Rows that are not released.
  std::uint64_t size() const noexcept;
  /// Whether more than `percent` of its memory is in use.
  bool is_fuller_than(unsigned percent) const noexcept;
  /// Rows pushed, and released, since the queue was created.
  std::uint64_t rows_in() const noexcept { return rows_in_.load(std::memory_order_seq_cst); }
  std::uint64_t rows_out() const noexcept { return rows_out_.load(std::memory_order_seq_cst); }

 private:
  struct Header;
  std::uint64_t capacity() const noexcept { return mask_ + 1; }

  const std::uint64_t mask_;
  const std::unique_ptr<std::byte[]> bytes_;

  // Positions only grow; an offset is a position modulo the capacity. Each side has its own cache
  // line.
  alignas(64) std::atomic<std::uint64_t> head_ = 0;  // where the next row goes
  std::atomic<std::uint64_t> rows_in_ = 0;
  std::uint64_t known_tail_ = 0;                     // the producer's last look at tail_
  alignas(64) std::atomic<std::uint64_t> tail_ = 0;  // the oldest row's
  std::atomic<std::uint64_t> rows_out_ = 0;
  Cursor released_;
};

}  // namespace waystation
