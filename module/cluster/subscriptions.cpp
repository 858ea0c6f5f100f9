#include "cluster/subscriptions.hpp"

#include <bit>
#include <new>
#include <utility>

#include "cluster/channels.hpp"

namespace waystation {
namespace {

/// The names of the channels for `bits` of `channel`.
std::vector<std::string> bit_names(std::string_view channel, std::uint32_t bits) {
  std::vector<std::string> names;
  for (; bits != 0; bits &= bits - 1) {
    names.push_back(ChannelNames::bit(channel, static_cast<unsigned>(std::countr_zero(bits))));
  }
  return names;
}

}  // namespace

std::size_t Subscriptions::counted(std::string_view channel) const noexcept {
  const auto* const entry = entries_.find(channel);
  return entry == nullptr ? 0 : entry->counted;
}

std::size_t Subscriptions::wanted(std::string_view channel) const noexcept {
  const auto* const entry = entries_.find(channel);
  return entry == nullptr ? 0 : entry->wanted;
}

void Subscriptions::add(std::string_view channel, Token token) {
  auto* entry = entries_.find(channel);
  if (entry == nullptr) entry = &entries_.insert(Entry::make(channel));
  try {
    waiting_.emplace(entry, token);
  } catch (...) {
    erase_if_unused(*entry);
    throw;
  }
  ++entry->wanted;
  note_change(*entry);
  send_changes();
}

void Subscriptions::remove(std::string_view channel) noexcept {
  auto* const entry = entries_.find(channel);
  if (entry == nullptr || entry->wanted == 0) return;
  --entry->wanted;
  note_change(*entry);
  send_changes();
}

/// In the order in which they came.
std::vector<Subscriptions::Token> Subscriptions::take_waiting(Entry& entry) {
  const auto [first, last] = waiting_.equal_range(&entry);
  std::vector<Token> tokens;
  for (auto at = first; at != last; ++at) tokens.push_back(at->second);
  waiting_.erase(first, last);
  return tokens;
}

void Subscriptions::note_change(Entry& entry) noexcept {
  if (std::exchange(entry.is_changed, true)) return;
  entry.next_change = nullptr;
  (first_change_ == nullptr ? first_change_ : last_change_->next_change) = &entry;
  last_change_ = &entry;
}

void Subscriptions::connect(RedisConnection& connection) noexcept {
  connection_ = &connection;
  entries_.visit_all([this](Entry& entry) { note_change(entry); });
  restoring_ = entries_.size();
  restored_at_ = asked_;
  is_restoring_ = true;
  send_changes();
}

void Subscriptions::disconnect() noexcept {
  connection_ = nullptr;
  is_restoring_ = false;
  // The sockets of what was sent are counted once they are subscribed again.
  for (const auto& step : steps_) {
    try {
      for (const auto token : step.tokens) waiting_.emplace(step.entry, token);
    } catch (const std::bad_alloc&) {
      // Their upgrade is refused after its deadline.
    }
  }
  steps_.clear();
  asked_ = confirmed_ = 0;
  entries_.erase_if([this](Entry& entry) {
    entry.counted = entry.sent_bits = entry.steps = 0;
    entry.is_sent = entry.is_changed = false;
    entry.next_change = nullptr;
    if (entry.wanted != 0) return false;
    waiting_.erase(&entry);
    return true;
  });
  first_change_ = last_change_ = nullptr;
}

void Subscriptions::send_changes() noexcept {
  while (connection_ != nullptr && first_change_ != nullptr) {
    auto& entry = *first_change_;
    try {
      if (!send_change(entry)) return;  // on_drained() follows
    } catch (const std::bad_alloc&) {
      // What was sent is not known any more. The listener is told that the connection is lost.
      return connection_->reconnect("out of memory");
    }
    first_change_ = entry.next_change;
    entry.is_changed = false;
    if (restoring_ != 0 && --restoring_ == 0) restored_at_ = asked_;
    erase_if_unused(entry);
  }
  finish_restoring();
}

/// False where the connection has no room for it.
bool Subscriptions::send_change(Entry& entry) {
  const auto bits = ChannelNames::socket_bits(entry.wanted);
  const bool is_wanted = entry.wanted != 0;
  const bool is_quiet = restoring_ != 0;
  const auto send = [this](const std::vector<std::string>& names, std::string_view channel,
                           bool is_new) {
    std::vector<std::string_view> channels(names.begin(), names.end());
    // The engine does them in this order: while it does, it counts too many sockets, not too few.
    if (!channel.empty()) channels.insert(is_new ? channels.end() : channels.begin(), channel);
    if (channels.empty()) return true;
    if (!(is_new ? connection_->subscribe(channels) : connection_->unsubscribe(channels))) {
      return false;
    }
    asked_ += channels.size();
    return true;
  };
  const auto before = asked_;
  const auto added = bit_names(entry.name(), bits & ~entry.sent_bits);
  if (!send(added, is_wanted && !entry.is_sent ? entry.name() : std::string_view(), true)) {
    return false;
  }
  const bool is_raised = asked_ != before;
  if (is_raised) {
    steps_.push_back({asked_, &entry, entry.wanted, is_quiet, take_waiting(entry)});
    ++entry.steps;
    entry.sent_bits |= bits;
    entry.is_sent = is_wanted;
  }
  const auto removed = bit_names(entry.name(), entry.sent_bits & ~bits);
  if (!send(removed, !is_wanted && entry.is_sent ? entry.name() : std::string_view(), false)) {
    return false;
  }
  entry.sent_bits = bits;
  entry.is_sent = is_wanted;
  if (is_raised) return true;
  // Those that wait, if any, take the place of others that have left.
  steps_.push_back({asked_, &entry, entry.wanted, is_quiet, take_waiting(entry)});
  ++entry.steps;
  return true;
}

void Subscriptions::on_confirmation() noexcept {
  if (confirmed_ == asked_) return;  // the connection unsubscribes from everything
  ++confirmed_;
  while (!steps_.empty() && steps_.front().confirmations <= confirmed_) {
    const auto step = std::move(steps_.front());
    steps_.pop_front();
    auto& entry = *step.entry;
    --entry.steps;
    const bool was_counted = std::exchange(entry.counted, step.counted) != 0;
    for (const auto token : step.tokens) listener_.on_counted(token);
    if (was_counted != (step.counted != 0) && !step.is_quiet) {
      listener_.on_presence_changed(entry.name());
    }
    erase_if_unused(entry);
  }
  finish_restoring();
}

void Subscriptions::finish_restoring() noexcept {
  if (!is_restoring_ || restoring_ != 0 || confirmed_ < restored_at_) return;
  is_restoring_ = false;
  listener_.on_restored();
}

void Subscriptions::erase_if_unused(Entry& entry) noexcept {
  if (entry.wanted != 0 || entry.is_sent || entry.is_changed || entry.steps != 0) return;
  waiting_.erase(&entry);
  entries_.erase(entry);
}

}  // namespace waystation
