#include "audit/row_queue.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace waystation {

/// Precedes the texts of a row. A row never wraps: if it does not fit before the end of the ring, a
/// header with `is_row` 0 fills the rest.
struct RowQueue::Header {
  std::uint32_t size;  // of the row with this header, a multiple of kAlignment
  std::uint8_t is_row;
  std::uint8_t outcome;
  std::uint8_t group_bytes;
  std::uint8_t from_bytes;
  std::uint8_t to_bytes;
  std::uint8_t id_bytes;
  std::uint16_t sockets;  // taken of Outcome::dropped, reached of the others
  std::uint32_t bytes;
  std::int64_t at;
  std::uint64_t key;
};

namespace {

constexpr std::uint64_t kAlignment = 8;
constexpr std::size_t kMinBytes = 4096;

bool fits_a_byte(std::string_view text) noexcept {
  return text.size() <= 255;
}

/// Saturates: a count beyond the type is stored as its maximum.
template <typename T>
T clamped(std::size_t number) noexcept {
  return static_cast<T>(std::min<std::size_t>(number, std::numeric_limits<T>::max()));
}

}  // namespace

RowQueue::RowQueue(std::size_t bytes)
    : mask_(std::bit_ceil(std::max(bytes, kMinBytes)) - 1),
      bytes_(std::make_unique_for_overwrite<std::byte[]>(mask_ + 1)) {}

bool RowQueue::push(const Delivery& row) noexcept {
  if (!fits_a_byte(row.group) || !fits_a_byte(row.from) || !fits_a_byte(row.to) ||
      !fits_a_byte(row.id)) {
    return false;
  }
  const std::uint64_t texts = row.group.size() + row.from.size() + row.to.size() + row.id.size();
  const std::uint64_t size = (sizeof(Header) + texts + kAlignment - 1) / kAlignment * kAlignment;
  std::uint64_t head = head_.load(std::memory_order_relaxed);
  const std::uint64_t to_end = capacity() - (head & mask_);
  const std::uint64_t skipped = to_end < size ? to_end : 0;
  if (head + skipped + size - known_tail_ > capacity()) {
    known_tail_ = tail_.load(std::memory_order_acquire);
    if (head + skipped + size - known_tail_ > capacity()) return false;
  }
  Header header{};
  if (skipped != 0) {
    // The first eight bytes of a header are always there: everything is aligned to eight.
    header.size = static_cast<std::uint32_t>(skipped);
    std::memcpy(&bytes_[head & mask_], &header, kAlignment);
    head += skipped;
  }
  header.size = static_cast<std::uint32_t>(size);
  header.is_row = 1;
  header.outcome = static_cast<std::uint8_t>(row.outcome);
  header.group_bytes = static_cast<std::uint8_t>(row.group.size());
  header.from_bytes = static_cast<std::uint8_t>(row.from.size());
  header.to_bytes = static_cast<std::uint8_t>(row.to.size());
  header.id_bytes = static_cast<std::uint8_t>(row.id.size());
  header.sockets =
      clamped<std::uint16_t>(row.outcome == Outcome::dropped ? row.taken : row.reached);
  header.bytes = clamped<std::uint32_t>(row.bytes);
  header.at = row.at;
  header.key = row.key;
  std::byte* to = &bytes_[head & mask_];
  std::memcpy(to, &header, sizeof header);
  to += sizeof header;
  for (const std::string_view text : {row.group, row.from, row.to, row.id}) {
    if (text.empty()) continue;
    std::memcpy(to, text.data(), text.size());
    to += text.size();
  }
  // Counted before the consumer can read the row, so that rows_out() never exceeds rows_in().
  // Sequentially consistent with the flag of a consumer that goes to sleep: either it sees this
  // row, or the producer then sees the flag.
  rows_in_.store(rows_in_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
  head_.store(head + size, std::memory_order_release);
  return true;
}

std::optional<Delivery> RowQueue::next(Cursor& cursor) const noexcept {
  const std::uint64_t head = head_.load(std::memory_order_acquire);
  for (;;) {
    if (cursor.position == head) return std::nullopt;
    Header header{};
    const std::byte* from = &bytes_[cursor.position & mask_];
    std::memcpy(&header, from, kAlignment);
    cursor.position += header.size;
    if (header.is_row == 0) continue;
    ++cursor.rows;
    std::memcpy(&header, from, sizeof header);
    const auto* text = reinterpret_cast<const char*>(from + sizeof header);
    const auto take = [&text](std::uint8_t size) {
      const std::string_view view(text, size);
      text += size;
      return view;
    };
    Delivery row{};
    row.outcome = static_cast<Outcome>(header.outcome);
    row.at = header.at;
    row.group = take(header.group_bytes);
    row.from = take(header.from_bytes);
    row.to = take(header.to_bytes);
    row.id = take(header.id_bytes);
    (row.outcome == Outcome::dropped ? row.taken : row.reached) = header.sockets;
    row.bytes = header.bytes;
    row.key = header.key;
    return row;
  }
}

void RowQueue::release(const Cursor& cursor) noexcept {
  released_ = cursor;
  tail_.store(cursor.position, std::memory_order_release);
  rows_out_.store(cursor.rows, std::memory_order_seq_cst);
}

bool RowQueue::is_fuller_than(unsigned percent) const noexcept {
  const std::uint64_t tail = tail_.load(std::memory_order_acquire);
  return head_.load(std::memory_order_acquire) - tail > capacity() / 100 * percent;
}

std::uint64_t RowQueue::size() const noexcept {
  // In this order: rows_in() may grow between the two reads.
  const std::uint64_t out = rows_out();
  return rows_in() - out;
}

}  // namespace waystation
