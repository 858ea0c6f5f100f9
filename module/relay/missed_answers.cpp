#include "relay/missed_answers.hpp"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

namespace waystation {

void MissedAnswers::add(Missed answer) {
  const auto cursor = MissedCursor::parse(answer.next);
  // A node knows its own position only.
  if (!cursor || cursor->positions.size() != 1) {
    is_complete_ = false;
    return;
  }
  const auto& position = cursor->positions.front();
  if (!positions_.emplace(position.node, position).second) {
    is_complete_ = false;
    return;
  }
  is_complete_ = is_complete_ && answer.complete;
  notifications_ += answer.notifications;
  for (auto& sender : answer.from) {
    const auto [found, is_new] = senders_.emplace(sender.user, sender);
    if (is_new) continue;
    auto& sum = found->second;
    sum.count += sender.count;
    sum.first = std::min(sum.first, sender.first);
    sum.last = std::max(sum.last, sender.last);
  }
}

void MissedAnswers::add(ErrorCode failure) {
  is_complete_ = false;
  if (!failure_) failure_ = failure;
}

/// Where the question begins on `node`.
MissedPosition MissedAnswers::asked_position(const std::string& node) const {
  if (question_.after) return question_.after->on(node);
  return {question_.since, 0, 0, node};
}

MissedAnswer MissedAnswers::result(std::span<const std::string> nodes, bool is_partial,
                                   std::int64_t now_ms) {
  if (positions_.empty()) return missed_failure(failure_.value_or(ErrorCode::timeout));
  Missed missed;
  missed.complete = is_complete_ && !is_partial;
  missed.notifications = notifications_;

  MissedCursor cursor;
  auto& since =
      cursor.since.emplace(question_.after ? question_.after->unnamed_since() : question_.since);
  std::set<std::string, std::less<>> named;
  // The node counts as one that has never answered. Rows that it has given must not come again.
  const auto leave_out = [&](const MissedPosition& position) {
    missed.complete = false;
    since = std::max(since, position.time);
  };
  const auto keep = [&](MissedPosition position) {
    if (!named.insert(position.node).second) return;
    if (cursor.positions.size() == MissedCursor::kMaxNodes) return leave_out(position);
    cursor.positions.push_back(std::move(position));
  };
  const auto keep_unanswered = [&](MissedPosition position) {
    missed.complete = false;
    keep(std::move(position));
  };
  // This node's position is the first.
  const auto own = positions_.find(own_);
  if (own != positions_.end()) {
    keep(own->second);
  } else {
    keep_unanswered(asked_position(own_));
  }
  for (const auto& [node, position] : positions_) keep(position);
  for (const auto& node : nodes) {
    if (!positions_.contains(node)) keep_unanswered(asked_position(node));
  }
  if (question_.after) {
    for (const auto& position : question_.after->positions) {
      if (named.contains(position.node)) continue;
      missed.complete = false;
      if (now_ms - position.time < kKeepGoneMs) {
        keep(position);
      } else {
        leave_out(position);
      }
    }
  }
  missed.next = cursor.text();
  while (missed.next.size() > MissedCursor::kMaxBytes) {
    leave_out(cursor.positions.back());
    cursor.positions.pop_back();
    missed.next = cursor.text();
  }

  for (auto& [name, sender] : senders_) missed.from.push_back(std::move(sender));
  // The latest first, then by name.
  std::ranges::sort(missed.from, [](const Missed::Sender& one, const Missed::Sender& other) {
    return one.last != other.last ? one.last > other.last : one.user < other.user;
  });
  if (missed.from.size() > kMaxMissedSenders) {
    missed.complete = false;
    missed.from.resize(kMaxMissedSenders);
  }
  return missed;
}

}  // namespace waystation
