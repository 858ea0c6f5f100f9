#include "relay/reachability.hpp"

#include <algorithm>
#include <new>

namespace waystation {

void Reachability::set_has_push(User& user, bool has_push) noexcept {
  if (user.has_push == has_push) return;
  user.has_push = has_push;
  if (has_push) return set_reachable(user, true);
  // Without a group here there is nobody to tell, and nothing to delay.
  if (user.groups.empty()) return set_reachable(user, false);
  const auto until_ms = scheduler_.now().steady_ms + kGraceMs;
  try {
    closing_.push_back({until_ms, &user});
  } catch (const std::bad_alloc&) {
    return set_reachable(user, false);
  }
  directory_.retain(user);
  ++user.closing;
  scheduler_.run_at(until_ms);
}

void Reachability::set_reachable(User& user, bool reachable) noexcept {
  if (user.is_reachable == reachable) return;
  user.is_reachable = reachable;
  if (user.groups.empty()) return;
  // From the last group to the first: a group that goes is replaced by the last, which was told.
  user.untold_groups = static_cast<std::uint32_t>(user.groups.size());
  if (!user.announcement.is_queued()) {
    directory_.retain(user);
    announcements_.push(user);
  }
  scheduler_.run_at(scheduler_.now().steady_ms);
}

void Reachability::run() noexcept {
  const auto now_ms = scheduler_.now().steady_ms;
  auto steps = kStepsPerRun;
  for (; steps != 0 && !closing_.empty() && closing_.front().until_ms <= now_ms; --steps) {
    auto& user = *closing_.front().user;
    closing_.pop_front();
    // A later close has an entry of its own.
    if (--user.closing == 0 && !user.has_push) set_reachable(user, false);
    directory_.release(user);
  }
  while (steps != 0 && !announcements_.empty()) {
    auto& user = *announcements_.pop();
    if (announce(user, steps)) {
      directory_.release(user);
    } else {
      announcements_.push(user);
    }
  }
  if (!announcements_.empty()) return scheduler_.run_at(now_ms);
  if (!closing_.empty()) scheduler_.run_at(closing_.front().until_ms);
}

/// Tells the next groups of a user, with a part of `steps`. False: some are left, and no steps.
bool Reachability::announce(User& user, std::size_t& steps) noexcept {
  auto& left = user.untold_groups;
  left = std::min(left, static_cast<std::uint32_t>(user.groups.size()));
  for (; left != 0; --left) {
    auto& group = *user.groups[left - 1];
    const auto side = group.users[0] == &user ? Side::lo : Side::hi;
    const std::size_t needed =
        std::max(1U, group.sockets[static_cast<std::size_t>(opposite(side))]);
    if (steps == 0 || (needed > steps && steps != kStepsPerRun)) {
      steps = 0;
      return false;
    }
    steps -= std::min(needed, steps);
    fanout_.set_reachable(group, side, user.is_reachable);
  }
  return true;
}

}  // namespace waystation
