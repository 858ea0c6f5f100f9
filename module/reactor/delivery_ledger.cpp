#include "reactor/delivery_ledger.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

namespace waystation {
namespace {

// Room for a few entries, since most sockets never have more than one or two on their way. Then for
// as many as an active socket has when the kernel is asked which arrived.
constexpr std::uint32_t kMinBytes = 192;
constexpr std::uint32_t kMoreBytes = 768;

}  // namespace

void DeliveryLedger::add(std::uint64_t end_offset, const Message& message, bool keep_group) {
  const auto group = keep_group ? message.group : std::string_view();
  const Record record{end_offset,
                      message.at,
                      message.key,
                      static_cast<std::uint32_t>(message.value.size()),
                      message.taken,
                      static_cast<std::uint8_t>(group.size()),
                      static_cast<std::uint8_t>(message.id.size()),
                      message.to_side};
  reserve(record.size());
  newest_ = tail_;
  char* at = memory_.get() + tail_;
  std::memcpy(at, &record, sizeof record);
  at += sizeof record;
  at += group.copy(at, group.size());
  message.id.copy(at, message.id.size());
  tail_ += record.size();
  ++count_;
}

void DeliveryLedger::set_taken(std::uint64_t key, std::uint32_t sockets) noexcept {
  // Not if it is lost already, or was acknowledged.
  if (newest_ < head_ || newest_ >= tail_) return;
  auto record = record_at(newest_);
  if (record.key != key) return;
  record.taken = sockets;
  std::memcpy(memory_.get() + newest_, &record, sizeof record);
}

void DeliveryLedger::acknowledge(std::uint64_t offset) noexcept {
  while (head_ != tail_) {
    const auto record = record_at(head_);
    if (record.end_offset > offset) break;
    head_ += record.size();
    --count_;
  }
  release_if_empty();
}

DeliveryLedger::Record DeliveryLedger::record_at(std::uint32_t at) const noexcept {
  Record record;
  std::memcpy(&record, memory_.get() + at, sizeof record);  // entries are not aligned
  return record;
}

DeliveryLedger::Entry DeliveryLedger::entry_at(std::uint32_t at) const noexcept {
  const auto record = record_at(at);
  const char* const texts = memory_.get() + at + sizeof record;
  return {record.end_offset,
          record.at,
          record.bytes,
          {texts, record.group_bytes},
          {texts + record.group_bytes, record.id_bytes},
          record.to_side,
          record.key,
          record.taken};
}

void DeliveryLedger::reserve(std::uint32_t size) {
  if (capacity_ - tail_ >= size) return;
  const auto kept = tail_ - head_;
  const std::uint64_t needed = std::uint64_t{kept} + size;
  std::unique_ptr<char[]> larger;
  // Moving pays only where it frees at least as much as it moves.
  if (needed > capacity_ || kept > head_) {
    const auto capacity = std::max<std::uint64_t>(
        {needed, 2 * std::uint64_t{capacity_}, capacity_ == 0 ? kMinBytes : kMoreBytes});
    if (capacity > std::numeric_limits<std::uint32_t>::max()) throw std::bad_alloc();
    larger = std::make_unique_for_overwrite<char[]>(capacity);
    capacity_ = static_cast<std::uint32_t>(capacity);
  }
  char* const to = larger ? larger.get() : memory_.get();
  if (kept != 0) std::memmove(to, memory_.get() + head_, kept);
  if (larger) memory_ = std::move(larger);
  head_ = 0;
  tail_ = kept;
}

void DeliveryLedger::release_if_empty() noexcept {
  if (head_ != tail_) return;
  memory_.reset();
  capacity_ = head_ = tail_ = 0;
}

}  // namespace waystation
