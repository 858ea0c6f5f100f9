#include "cluster/recount.hpp"

#include <algorithm>
#include <new>
#include <span>

namespace waystation {
namespace {

constexpr std::size_t kChannelsAtOnce = 500;
constexpr std::int64_t kIntervalMs = 200;
// A question without an answer, since its script has failed, is given up after this time.
constexpr std::int64_t kPatienceMs = 2'000;

}  // namespace

void Recount::start() noexcept {
  is_wanted_ = true;
  Timer::set_sooner(std::max(loop_.now_ms(), not_before_ms_));
}

void Recount::stop() noexcept {
  asked_.clear();
  is_wanted_ = false;
  Timer::set(TimerQueue::kNever);
}

void Recount::on_timer() noexcept {
  const auto given_up_ms = asked_ms_ + kPatienceMs;
  if (!asked_.empty() && loop_.now_ms() < given_up_ms) return Timer::set(given_up_ms);
  begin();
}

void Recount::begin() noexcept {
  is_wanted_ = false;
  not_before_ms_ = loop_.now_ms() + kIntervalMs;
  asked_.clear();
  next_ = count_ = 0;
  ++token_;
  try {
    const auto& counts = shard_.subscriptions();
    counts.for_each_counted([&](std::string_view name) {
      using Kind = ChannelNames::Channel::Kind;
      const auto& names = shard_.names();
      const auto channel = names.parse(name);
      if (!channel || (channel->kind != Kind::chat && channel->kind != Kind::reachable)) return;
      const auto other = channel->kind == Kind::chat
                             ? names.chat(channel->name, opposite(channel->side))
                             : names.push(channel->name);
      if (counts.counted(other) == 0) asked_.emplace_back(other);
    });
  } catch (const std::bad_alloc&) {
    return asked_.clear();  // the last known presence stays
  }
  ask();
}

void Recount::ask() noexcept {
  if (next_ == asked_.size()) return finish();
  asked_ms_ = loop_.now_ms();
  count_ = std::min(kChannelsAtOnce, asked_.size() - next_);
  try {
    const auto part = std::span(asked_).subspan(next_, count_);
    const std::vector<std::string_view> channels(part.begin(), part.end());
    if (!shard_.scripts().recount(shard_.commands(), shard_.inbox(), token_, channels, {})) {
      shard_.note_missed_report();
      finish();
    }
  } catch (const std::bad_alloc&) {
    finish();
  }
}

void Recount::finish() noexcept {
  asked_.clear();
  if (is_wanted_) Timer::set_sooner(std::max(loop_.now_ms(), not_before_ms_));
}

void Recount::on_event(const ClusterEvent& event) noexcept {
  if (event.token != token_ || event.states.size() != count_ || next_ + count_ > asked_.size()) {
    return;
  }
  for (std::size_t i = 0; i < count_; ++i) {
    const auto channel = shard_.names().parse(asked_[next_ + i]);
    if (channel) apply_(*channel, static_cast<Presence>(event.states[i] - '0'));
  }
  next_ += count_;
  count_ = 0;
  ask();
}

}  // namespace waystation
