#include "reactor/delivery_ledger.hpp"

namespace waystation {

void DeliveryLedger::add(std::uint64_t end_offset, const Message& message, bool keep_group) {
  if (entries_ == nullptr) entries_ = std::make_unique<std::deque<Entry>>();
  // "<lo>_<hi>", and no user has a '_'.
  const bool to_lo = message.group.starts_with(message.to) &&
                     message.group.substr(message.to.size()).starts_with('_');
  entries_->push_back({end_offset, message.at, message.value.size(),
                       std::string(keep_group ? message.group : std::string_view()),
                       std::string(message.id), to_lo});
}

void DeliveryLedger::acknowledge(std::uint64_t offset) noexcept {
  if (entries_ == nullptr) return;
  while (!entries_->empty() && entries_->front().end_offset <= offset) entries_->pop_front();
  if (entries_->empty()) entries_.reset();
}

}  // namespace waystation
