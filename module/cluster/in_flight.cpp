#include "cluster/in_flight.hpp"

#include <algorithm>

namespace waystation {

InFlight::Entry& InFlight::add(Kind kind, ChatMember* sender, const Message& message,
                               std::int64_t deadline_ms) {
  return entries_.emplace_back(
      Entry{next(), kind, sender, OwnedMessage(message), deadline_ms, {}, {}});
}

InFlight::Entry* InFlight::find(std::uint32_t number) noexcept {
  const std::size_t at = number - first_;
  return at < entries_.size() ? &entries_[at] : nullptr;
}

bool InFlight::has_group(std::string_view group) const noexcept {
  return std::ranges::any_of(entries_, [group](const Entry& entry) {
    return entry.kind == Kind::message && !entry.is_decided && !entry.is_replied &&
           entry.message.view().group == group;
  });
}

bool InFlight::has_unshown(std::string_view group) const noexcept {
  return std::ranges::any_of(entries_, [group](const Entry& entry) {
    return entry.kind == Kind::message && !entry.is_shown && !entry.is_failed &&
           entry.message.view().group == group;
  });
}

void InFlight::forget_sender(const ChatMember& sender) noexcept {
  for (auto& entry : entries_) {
    if (entry.sender != &sender) continue;
    entry.sender = nullptr;
    // Its channel may be unsubscribed before the signal is published: no event follows then.
    if (entry.kind == Kind::signal) entry.is_shown = true;
  }
}

}  // namespace waystation
