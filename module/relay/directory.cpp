#include "relay/directory.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "relay/names.hpp"

namespace waystation {
Directory::Directory(const RateLimit& limit) : limit_(limit) {}
Directory::~Directory() = default;

// ---- users

User& Directory::reference_user(std::string_view id) {
  auto* user = users_.find(id);
  if (user == nullptr) user = &users_.insert(User::make(id));
  ++user->references;
  return *user;
}

void Directory::release(User& user) noexcept {
  if (--user.references != 0 || user.is_idle) return;
  try {
    add_idle(user);
  } catch (...) {
    // Without memory for the list, the user is destroyed now and their next burst is a new one.
  }
  if (!user.is_idle) users_.erase(user);
}

void Directory::add_idle(User& user) {
  const auto until_ms = user.bucket.full_at_ms(limit_);
  if (until_ms <= user.bucket.since_ms()) return;  // nothing was taken
  idle_.push_back({until_ms, &user});
  std::ranges::push_heap(idle_, std::greater<>());
  user.is_idle = true;
}

void Directory::evict_idle(const Now& now) noexcept {
  while (!idle_.empty() && idle_.front().until_ms <= now.steady_ms) {
    std::ranges::pop_heap(idle_, std::greater<>());
    auto& last = idle_.back();
    auto& user = *last.user;
    // The user may have reconnected, sent more, and left again.
    const auto until_ms = user.bucket.full_at_ms(limit_);
    if (user.references == 0 && until_ms > now.steady_ms) {
      last.until_ms = until_ms;
      std::ranges::push_heap(idle_, std::greater<>());
      continue;
    }
    idle_.pop_back();
    user.is_idle = false;
    if (user.references == 0) users_.erase(user);
  }
}

bool Directory::take_message(std::string_view id, const Now& now) {
  auto& user = reference_user(id);
  const bool is_taken = user.bucket.take(limit_, now.steady_ms);
  release(user);
  return is_taken;
}

User* Directory::find_user(std::string_view id) noexcept {
  return users_.find(id);
}

// ---- groups

Group& Directory::find_or_create_group(std::string_view name) {
  if (auto* const found = find_group(name)) return *found;
  auto created = Group::make(name);
  auto& group = *created;
  const auto ids = parse_group(name);
  std::array<User*, 2> users{};
  try {
    users[0] = &reference_user(ids->lo);
    users[1] = &reference_user(ids->hi);
    for (auto* user : users) user->groups.reserve(user->groups.size() + 1);
    groups_.insert(std::move(created));
  } catch (...) {
    for (auto* user : users) {
      if (user != nullptr) release(*user);
    }
    throw;
  }
  group.lo_bytes = static_cast<std::uint8_t>(ids->lo.size());
  group.users = users;
  for (auto* user : users) user->groups.add(group);
  return group;
}

void Directory::destroy_if_unused(Group& group) noexcept {
  if (group.reserved != 0) return;
  for (auto* user : group.users) {
    user->groups.remove(group);
    if (user->groups.empty()) user->is_reachable = user->has_push;  // nobody waits to be told
    release(*user);
  }
  groups_.erase(group);
}

Group* Directory::find_group(std::string_view name) noexcept {
  return groups_.find(name);
}

// ---- sockets

void Directory::reserve(ChatMember& member, std::string_view group_name, std::string_view user) {
  auto own_bucket = user.empty() ? std::make_unique<TokenBucket>() : nullptr;
  auto& group = find_or_create_group(group_name);
  try {
    group.members.reserve(std::size_t{group.reserved} + 1);
  } catch (...) {
    destroy_if_unused(group);
    throw;
  }
  ++group.reserved;
  member.group_ = &group;
  member.side_ = user.empty()                      ? Side::anonymous
                 : user == group.user_id(Side::lo) ? Side::lo
                                                   : Side::hi;
  member.user_ = user.empty() ? nullptr : &group.user(member.side_);
  member.own_bucket_ = std::move(own_bucket);
}

void Directory::reserve(PushMember& member, std::string_view id) {
  auto& user = reference_user(id);
  try {
    user.push.reserve(std::size_t{user.push_reserved} + 1);
  } catch (...) {
    release(user);
    throw;
  }
  ++user.push_reserved;
  member.user_ = &user;
}

void Directory::add(ChatMember& member) noexcept {
  auto& group = *member.group_;
  group.members.add(member);
  auto& sockets = group.sockets[static_cast<std::size_t>(member.side_)];
  if (sockets++ == 0 && member.user_ != nullptr) ++member.user_->groups_present;
  member.is_joined_ = true;
}

void Directory::add(PushMember& member) noexcept {
  member.user_->push.add(member);
  member.is_joined_ = true;
}

void Directory::remove(ChatMember& member) noexcept {
  if (!std::exchange(member.is_joined_, false)) return;
  auto& group = *member.group_;
  group.members.remove(member);
  auto& sockets = group.sockets[static_cast<std::size_t>(member.side_)];
  if (--sockets == 0 && member.user_ != nullptr) --member.user_->groups_present;
}

void Directory::remove(PushMember& member) noexcept {
  if (std::exchange(member.is_joined_, false)) member.user_->push.remove(member);
}

void Directory::release(ChatMember& member) noexcept {
  auto& group = *std::exchange(member.group_, nullptr);
  member.user_ = nullptr;
  --group.reserved;
  destroy_if_unused(group);
}

void Directory::release(PushMember& member) noexcept {
  auto& user = *std::exchange(member.user_, nullptr);
  --user.push_reserved;
  release(user);
}

// ---- calls about one user

UserPresence Directory::presence(std::string_view user) const {
  UserPresence presence;
  const auto* const found = users_.find(user);
  if (found == nullptr) return presence;
  presence.push_sockets = found->push.size();
  for (const auto* group : found->groups) {
    const std::size_t side = group->users[0] == found ? 0 : 1;
    if (group->sockets[side] != 0) presence.groups.emplace_back(group->name());
  }
  std::ranges::sort(presence.groups);
  return presence;
}

std::size_t Directory::end_sessions(std::string_view id) {
  const auto* const user = find_user(id);
  if (user == nullptr) return 0;
  std::size_t ended = user->push.size();
  for (auto* member : user->push) member->end_session();
  for (const auto* group : user->groups) {
    for (auto* member : group->members) {
      if (member->user() != user) continue;
      member->end_session();
      ++ended;
    }
  }
  return ended;
}

}  // namespace waystation
