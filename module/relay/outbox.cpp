#include "relay/outbox.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace waystation {
namespace {

constexpr std::size_t kBlockBytes = 16 * 1024;
// What stays for the next outbox that needs memory, in blocks and in bytes. Those that grew stay
// too: who sends long messages sends more of them, and the system's memory comes page by page.
constexpr std::size_t kSpareBlocks = 256;
constexpr std::size_t kSpareBytes = kSpareBlocks * kBlockBytes;
constexpr std::size_t kJoinedBytes = 1024;

std::size_t total_size(std::initializer_list<std::string_view> parts) noexcept {
  std::size_t size = 0;
  for (const auto part : parts) size += part.size();
  return size;
}

}  // namespace

// Room for the spare ones from the start, since blocks come back where nothing may throw.
OutboxPool::OutboxPool(const Limits& limits) : limits_(limits) {
  spare_.reserve(kSpareBlocks);
}

std::unique_ptr<OutboxPool::Block> OutboxPool::lend() {
  if (!spare_.empty()) {
    auto block = std::move(spare_.back());
    spare_.pop_back();
    spare_bytes_ -= block->capacity;
    return block;
  }
  auto block = std::make_unique<Block>();
  block->bytes = std::make_unique_for_overwrite<char[]>(kBlockBytes);
  block->capacity = kBlockBytes;
  return block;
}

void OutboxPool::take_back(std::unique_ptr<Block> block) noexcept {
  if (spare_.size() >= kSpareBlocks || spare_bytes_ + block->capacity > kSpareBytes) return;
  block->head = block->tail = block->first_unit = 0;
  block->unit_ends.clear();
  block->last_joins = false;
  spare_bytes_ += block->capacity;
  spare_.push_back(std::move(block));
}

Outbox::~Outbox() {
  discard();
}

void Outbox::discard() noexcept {
  if (block_ == nullptr) return;
  pool_->queued_ -= unsent().size();
  pool_->take_back(std::move(block_));
}

bool Outbox::append(std::initializer_list<std::string_view> parts, Unit kind) {
  const auto size = total_size(parts);
  const auto& limits = pool_->limits();
  if (unsent().size() + size > limits.max_queue_bytes || !pool_->has_room(size)) {
    return false;
  }
  put(parts, size, kind);
  return true;
}

void Outbox::append_always(std::initializer_list<std::string_view> parts) {
  put(parts, total_size(parts), Unit::stands_alone);
}

/// Whether the last unit may still grow by `size`: what was begun has its end.
bool Outbox::may_join_last(std::size_t size) const noexcept {
  const auto& ends = block_->unit_ends;
  if (!block_->last_joins || ends.empty()) return false;
  const auto begin = ends.size() == 1 ? 0 : ends[ends.size() - 2];
  return block_->head <= begin && block_->tail - begin + size <= kJoinedBytes;
}

void Outbox::put(std::initializer_list<std::string_view> parts, std::size_t size, Unit kind) {
  if (size == 0) return;
  if (block_ == nullptr || block_->capacity - block_->tail < size) make_room(size);
  auto& block = *block_;
  if (kind == Unit::joins && may_join_last(size)) {
    block.unit_ends.back() += size;
  } else {
    block.unit_ends.push_back(block.tail + size);
  }
  block.last_joins = kind == Unit::joins;
  for (const auto part : parts) {
    block.tail += part.copy(block.bytes.get() + block.tail, part.size());
  }
  pool_->queued_ += size;
}

void Outbox::make_room(std::size_t size) {
  if (block_ == nullptr) block_ = pool_->lend();
  const auto& block = *block_;
  if (block.capacity - block.tail >= size) return;
  const auto begun = begin_of_begun();
  const auto kept = block.tail - begun;
  const auto needed = kept + size;
  // Moving pays only where it frees at least as much as it moves.
  const bool is_moved_in_place = needed <= block.capacity && kept <= begun;
  move_front(is_moved_in_place ? block.capacity : std::max(needed, 2 * block.capacity));
}

std::size_t Outbox::begin_of_begun() const noexcept {
  return block_->first_unit == 0 ? 0 : block_->unit_ends[block_->first_unit - 1];
}

/// Moves what is left, from the unit on that was begun, to the front of a block of `capacity`
/// bytes. Only whole units leave, so that the first one of the block is the one begun.
void Outbox::move_front(std::size_t capacity) {
  auto& block = *block_;
  const auto begun = begin_of_begun();
  std::unique_ptr<char[]> other;
  if (capacity != block.capacity) other = std::make_unique_for_overwrite<char[]>(capacity);
  char* new_bytes = other ? other.get() : block.bytes.get();
  std::memmove(new_bytes, block.bytes.get() + begun, block.tail - begun);
  if (other) block.bytes = std::move(other);
  block.capacity = capacity;
  block.head -= begun;
  block.tail -= begun;
  block.unit_ends.erase(block.unit_ends.begin(),
                        block.unit_ends.begin() + static_cast<std::ptrdiff_t>(block.first_unit));
  for (auto& end : block.unit_ends) end -= begun;
  block.first_unit = 0;
}

std::string_view Outbox::unsent() const noexcept {
  if (block_ == nullptr) return {};
  return {block_->bytes.get() + block_->head, block_->tail - block_->head};
}

void Outbox::consume(std::size_t count) {
  if (count == 0) return;
  auto& block = *block_;
  block.head += count;
  sent_ += count;
  pool_->queued_ -= count;
  if (block.head == block.tail) {
    pool_->take_back(std::move(block_));
    return;
  }
  while (block.unit_ends[block.first_unit] <= block.head) ++block.first_unit;
  give_back_unused();
}

/// A block that was full once is mostly unused while a peer takes its time with the last of it;
/// only what is queued is in the budget.
void Outbox::give_back_unused() noexcept {
  auto& block = *block_;
  const auto kept = block.tail - begin_of_begun();
  if (block.capacity <= kBlockBytes || kept > block.capacity / 4) return;
  try {
    move_front(std::max(kBlockBytes, 2 * kept));
    block.unit_ends.shrink_to_fit();
  } catch (const std::bad_alloc&) {
    // Then it keeps what it has.
  }
}

void Outbox::drop_unbegun() noexcept {
  if (block_ == nullptr) return;
  auto& block = *block_;
  const auto begun = block.first_unit == 0 ? 0 : block.unit_ends[block.first_unit - 1];
  const bool in_unit = block.head > begun;
  const auto new_tail = in_unit ? block.unit_ends[block.first_unit] : block.head;
  block.unit_ends.resize(block.first_unit + (in_unit ? 1 : 0));
  pool_->queued_ -= block.tail - new_tail;
  block.tail = new_tail;
  if (block.head == block.tail) {
    pool_->take_back(std::move(block_));
  } else {
    give_back_unused();
  }
}

std::uint64_t Outbox::queued_offset() const noexcept {
  return sent_ + unsent().size();
}

}  // namespace waystation
