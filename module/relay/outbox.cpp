#include "relay/outbox.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace waystation {
namespace {

constexpr std::size_t kBlockBytes = 16 * 1024;
// Memory kept for reuse, in blocks and in bytes. Blocks that grew are kept too, since a sender of
// long messages is likely to send more of them.
constexpr std::size_t kSpareBlocks = 256;
constexpr std::size_t kSpareBytes = kSpareBlocks * kBlockBytes;
constexpr std::size_t kMaxMergedBytes = 1024;

std::size_t total_size(std::initializer_list<std::string_view> parts) noexcept {
  std::size_t size = 0;
  for (const auto part : parts) size += part.size();
  return size;
}

}  // namespace

// Reserved at the start, since release() must not throw.
OutboxPool::OutboxPool(const Limits& limits) : limits_(limits) {
  spare_.reserve(kSpareBlocks);
}

std::unique_ptr<OutboxPool::Block> OutboxPool::acquire() {
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

void OutboxPool::release(std::unique_ptr<Block> block) noexcept {
  if (spare_.size() >= kSpareBlocks || spare_bytes_ + block->capacity > kSpareBytes) return;
  block->head = block->tail = block->first_unit = 0;
  block->unit_ends.clear();
  block->last_is_mergeable = false;
  spare_bytes_ += block->capacity;
  spare_.push_back(std::move(block));
}

Outbox::~Outbox() {
  discard();
}

void Outbox::discard() noexcept {
  if (block_ == nullptr) return;
  pool_->queued_ -= unsent().size();
  pool_->release(std::move(block_));
}

bool Outbox::append(std::initializer_list<std::string_view> parts, Unit kind) {
  const auto size = total_size(parts);
  const auto& limits = pool_->limits();
  if (unsent().size() + size > limits.max_queue_bytes || !pool_->has_capacity(size)) {
    return false;
  }
  put(parts, size, kind);
  return true;
}

void Outbox::append_always(std::initializer_list<std::string_view> parts) {
  put(parts, total_size(parts), Unit::separate);
}

/// Whether the last unit can grow by `size`. A started unit cannot.
bool Outbox::can_merge_with_last(std::size_t size) const noexcept {
  const auto& ends = block_->unit_ends;
  if (!block_->last_is_mergeable || ends.empty()) return false;
  const auto begin = ends.size() == 1 ? 0 : ends[ends.size() - 2];
  return block_->head <= begin && block_->tail - begin + size <= kMaxMergedBytes;
}

void Outbox::put(std::initializer_list<std::string_view> parts, std::size_t size, Unit kind) {
  if (size == 0) return;
  if (block_ == nullptr || block_->capacity - block_->tail < size) reserve(size);
  auto& block = *block_;
  if (kind == Unit::mergeable && can_merge_with_last(size)) {
    block.unit_ends.back() += size;
  } else {
    block.unit_ends.push_back(block.tail + size);
  }
  block.last_is_mergeable = kind == Unit::mergeable;
  for (const auto part : parts) {
    block.tail += part.copy(block.bytes.get() + block.tail, part.size());
  }
  pool_->queued_ += size;
}

void Outbox::reserve(std::size_t size) {
  if (block_ == nullptr) block_ = pool_->acquire();
  const auto& block = *block_;
  if (block.capacity - block.tail >= size) return;

  const auto started = begin_of_started();
  const auto kept = block.tail - started;
  const auto needed = kept + size;
  // Moving is worth its cost only if it frees at least as much as it moves.
  const bool is_moved_in_place = needed <= block.capacity && kept <= started;
  move_front(is_moved_in_place ? block.capacity : std::max(needed, 2 * block.capacity));
}

std::size_t Outbox::begin_of_started() const noexcept {
  return block_->first_unit == 0 ? 0 : block_->unit_ends[block_->first_unit - 1];
}

/// Moves the units that are not sent completely to the front of a block of `capacity` bytes. The
/// first of them may be started.
void Outbox::move_front(std::size_t capacity) {
  auto& block = *block_;
  const auto started = begin_of_started();
  std::unique_ptr<char[]> other;
  if (capacity != block.capacity) other = std::make_unique_for_overwrite<char[]>(capacity);
  char* new_bytes = other ? other.get() : block.bytes.get();
  std::memmove(new_bytes, block.bytes.get() + started, block.tail - started);
  if (other) block.bytes = std::move(other);
  block.capacity = capacity;
  block.head -= started;
  block.tail -= started;
  block.unit_ends.erase(block.unit_ends.begin(),
                        block.unit_ends.begin() + static_cast<std::ptrdiff_t>(block.first_unit));
  for (auto& end : block.unit_ends) end -= started;
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
    pool_->release(std::move(block_));
    return;
  }
  while (block.unit_ends[block.first_unit] <= block.head) ++block.first_unit;
  release_unused();
}

/// Shrinks a block that is mostly unused: a slow peer would keep it for the last bytes, and only
/// the queued bytes count against the limits.
void Outbox::release_unused() noexcept {
  auto& block = *block_;
  const auto kept = block.tail - begin_of_started();
  if (block.capacity <= kBlockBytes || kept > block.capacity / 4) return;
  try {
    move_front(std::max(kBlockBytes, 2 * kept));
    block.unit_ends.shrink_to_fit();
  } catch (const std::bad_alloc&) {
    // The outbox keeps the larger block.
  }
}

void Outbox::drop_unstarted() noexcept {
  if (block_ == nullptr) return;
  auto& block = *block_;
  const auto started = block.first_unit == 0 ? 0 : block.unit_ends[block.first_unit - 1];
  const bool in_unit = block.head > started;
  const auto new_tail = in_unit ? block.unit_ends[block.first_unit] : block.head;
  block.unit_ends.resize(block.first_unit + (in_unit ? 1 : 0));
  pool_->queued_ -= block.tail - new_tail;
  block.tail = new_tail;
  if (block.head == block.tail) {
    pool_->release(std::move(block_));
  } else {
    release_unused();
  }
}

std::uint64_t Outbox::queued_offset() const noexcept {
  return sent_ + unsent().size();
}

}  // namespace waystation
