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

/// A ring of bytes for one producer and one consumer: no lock, no allocation, and the memory is
/// bounded whatever the rows are. The consumer reads rows and gives them back only once they are
/// safe, so that a batch which failed is still there to be tried again.
class RowQueue {
 public:
  /// `bytes` is rounded up to a power of two. The memory is the kernel's until it is used. Throws
  /// std::bad_alloc.
  explicit RowQueue(std::size_t bytes);
  RowQueue(const RowQueue&) = delete;
  RowQueue& operator=(const RowQueue&) = delete;

  // ---- the producer

  /// False, and nothing is kept, where there is no room, or where a name is longer than any name
  /// can be.
  bool push(const Delivery& row) noexcept;

  // ---- the consumer

  /// A place in the queue.
  class Cursor {
    friend class RowQueue;
    std::uint64_t position = 0;
    std::uint64_t rows = 0;  // before it, since the queue was made
  };

  /// The oldest row that was not given back.
  Cursor begin() const noexcept { return taken_; }
  /// The row at `cursor`, which moves on; nothing at the queue's end. Its views live until the row
  /// is given back.
  std::optional<Delivery> next(Cursor& cursor) const noexcept;
  /// Gives back all rows before `cursor`.
  void release(const Cursor& cursor) noexcept;

  // ---- any thread

  /// Rows that were not given back.
  std::uint64_t size() const noexcept;
  /// Whether more than so much of its memory is taken.
  bool is_filled(unsigned percent) const noexcept;
  /// Rows that were ever pushed, and given back.
  std::uint64_t rows_in() const noexcept { return rows_in_.load(std::memory_order_seq_cst); }
  std::uint64_t rows_out() const noexcept { return rows_out_.load(std::memory_order_seq_cst); }

 private:
  struct Header;
  std::uint64_t capacity() const noexcept { return mask_ + 1; }

  const std::uint64_t mask_;
  const std::unique_ptr<std::byte[]> bytes_;

  // Positions only ever grow; a row's place is its position modulo the capacity. Each side has a
  // cache line of its own.
  alignas(64) std::atomic<std::uint64_t> head_ = 0;  // where the next row goes
  std::atomic<std::uint64_t> rows_in_ = 0;
  std::uint64_t known_tail_ = 0;                     // the producer's last look at tail_
  alignas(64) std::atomic<std::uint64_t> tail_ = 0;  // the oldest row's
  std::atomic<std::uint64_t> rows_out_ = 0;
  Cursor taken_;
};

}  // namespace waystation
