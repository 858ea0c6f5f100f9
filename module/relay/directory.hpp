// Who is here: the users, groups and sockets of this node. It sends nothing and decides nothing.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/intrusive_queue.hpp"
#include "base/named.hpp"
#include "base/pointer_list.hpp"
#include "relay/member.hpp"
#include "relay/now.hpp"
#include "relay/rate_limit.hpp"

namespace waystation {

/// A user with a socket, with a group that has one, or with a rate bucket that is not full again.
struct User final : Named<User> {
  bool is_idle = false;  // stands in the directory's list of idle users

  // Kept by Reachability.
  bool has_push = false;      // has a push socket, on this node or another
  bool is_reachable = false;  // the same; with a group, true until some time after it closed

  std::uint32_t references = 0;     // groups, push sockets, and waiting announcements
  TokenBucket bucket;               // for all sockets of the user together
  PointerList<PushMember, 1> push;  // those that joined
  PointerList<Group, 1> groups;     // named after the user, with a socket

  std::uint32_t push_reserved = 0;   // push sockets that joined or wait for it
  std::uint32_t groups_present = 0;  // of `groups`, those with a socket of the user

  // Kept by Reachability.
  std::uint32_t closing = 0;        // entries that wait until the user is not reachable
  std::uint32_t untold_groups = 0;  // how many of `groups`, from the first on, may not know yet
  QueueLink<User> announcement;

  // For backplanes that are told who is reachable: how many sockets of this node want to know it.
  std::uint32_t watchers = 0;

  User* next_in_set = nullptr;
};

/// A group with at least one socket. What each message uses comes first: few cache lines.
struct Group final : Named<Group> {
  std::uint8_t lo_bytes = 0;  // the size of the first user's id in the name
  // By Side, as last announced to the group: see has_socket() and User::is_reachable.
  std::array<bool, 2> is_present{};
  std::array<bool, 2> is_reachable{};
  std::array<bool, 2> is_known{};          // for backplanes that learn presence after the join
  std::array<std::uint32_t, 3> sockets{};  // of `members`, by Side
  std::uint32_t reserved = 0;              // sockets that joined or wait for it
  PointerList<ChatMember, 2> members;      // those that joined
  std::array<User*, 2> users{};            // by Side
  Group* next_in_set = nullptr;

  /// The id of one of the two users: a part of the name.
  std::string_view user_id(Side side) const noexcept {
    const auto both = name();
    return side == Side::lo ? both.substr(0, lo_bytes) : both.substr(std::size_t{lo_bytes} + 1);
  }
  User& user(Side side) const noexcept { return *users[static_cast<std::size_t>(side)]; }

  /// Whether `side` has a socket here. An anonymous socket counts for both sides.
  bool has_socket(Side side) const noexcept {
    return sockets[static_cast<std::size_t>(side)] != 0 ||
           sockets[static_cast<std::size_t>(Side::anonymous)] != 0;
  }
};

inline TokenBucket& ChatMember::rate_bucket() noexcept {
  return user_ != nullptr ? user_->bucket : *own_bucket_;
}

/// Where a user is present.
struct UserPresence {
  std::size_t push_sockets = 0;
  std::vector<std::string> groups;  // by name; anonymous sockets do not count
  bool is_partial = false;          // a node did not answer
};

/// The sockets that a call of the host application reached.
struct SocketCount {
  std::size_t sockets = 0;
  bool is_partial = false;  // a node did not answer
};

/// The users and groups by name. One thread.
///
/// A socket joins in two steps, since a backplane may confirm the join later. reserve() assigns its
/// group and user, add() makes it present. On leaving, remove() undoes add(), then release() undoes
/// reserve().
class Directory {
 public:
  explicit Directory(const RateLimit& limit);
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  const RateLimit& rate_limit() const noexcept { return limit_; }
  void set_rate_limit(const RateLimit& limit) noexcept { limit_ = limit; }

  /// `group` is a valid group name and `user` one of its two users, or empty: anonymous. Throws
  /// std::bad_alloc, and nothing is reserved.
  void reserve(ChatMember& member, std::string_view group, std::string_view user);
  void reserve(PushMember& member, std::string_view user);

  /// Once, after reserve().
  void add(ChatMember& member) noexcept;
  void add(PushMember& member) noexcept;

  /// After reserve(); no effect on a member that was not added.
  void remove(ChatMember& member) noexcept;
  void remove(PushMember& member) noexcept;

  /// After remove(). The group and the user are destroyed if this was their last socket.
  void release(ChatMember& member) noexcept;
  void release(PushMember& member) noexcept;

  /// Takes one message from the rate bucket of a user, who need not have a socket. False: it is
  /// empty. Throws std::bad_alloc, and nothing was taken.
  bool take_message(std::string_view user, const Now& now);

  /// Null: nobody here belongs to it. The pointer is valid until the next release() or
  /// evict_idle().
  Group* find_group(std::string_view name) noexcept;
  User* find_user(std::string_view id) noexcept;

  /// Keeps `user` until release() is called as often.
  void retain(User& user) noexcept { ++user.references; }
  void release(User& user) noexcept;

  UserPresence presence(std::string_view user) const;

  /// Ends every socket of `user` and returns their number.
  std::size_t end_sessions(std::string_view user);

  /// Calls `f(Member&)` for each push socket, and for each chat socket of groups for which
  /// `is_wanted(const Group&)` is true. Only for those that joined. `f` must not change the
  /// directory.
  template <typename F, typename Wanted>
  void for_each_member(Wanted&& is_wanted, F&& f) const {
    groups_.visit_all([&](const Group& group) {
      if (!is_wanted(group)) return;
      for (auto* member : group.members) f(*member);
    });
    users_.visit_all([&](const User& user) {
      for (auto* member : user.push) f(*member);
    });
  }

  /// A user without a socket is kept until their rate bucket is full again, so that a user who
  /// reconnects gets no new burst. This destroys the users whose time has come. To be called
  /// regularly.
  void evict_idle(const Now& now) noexcept;

  std::size_t group_count() const noexcept { return groups_.size(); }

  /// The users are kept in numbered buckets, few in each. A user stays in theirs until the number
  /// of buckets changes.
  std::size_t user_buckets() const noexcept { return users_.bucket_count(); }
  /// Calls `visit(const User&)` for each user of a bucket, with or without sockets.
  template <typename F>
  void visit_users(std::size_t bucket, F&& visit) const {
    users_.visit(bucket, visit);
  }

 private:
  User& reference_user(std::string_view id);
  void add_idle(User& user);
  Group& find_or_create_group(std::string_view name);
  void destroy_if_unused(Group& group) noexcept;

  RateLimit limit_;
  NamedSet<User, &User::next_in_set> users_;
  NamedSet<Group, &Group::next_in_set> groups_;

  /// A user without a socket, and when to check whether to destroy them.
  struct IdleUser {
    std::int64_t until_ms;
    User* user;
    bool operator>(const IdleUser& other) const noexcept { return until_ms > other.until_ms; }
  };
  std::vector<IdleUser> idle_;  // a heap, the earliest first
};

}  // namespace waystation
