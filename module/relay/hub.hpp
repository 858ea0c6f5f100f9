// Who is where, and where a message goes. The hub knows no socket, no clock and no thread: sockets
// are members, time comes in as an argument, and everything happens on one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "relay/envelope.hpp"
#include "relay/observer.hpp"
#include "relay/outgoing.hpp"
#include "relay/rate_limit.hpp"

namespace waystation {

/// The time of one round of events.
struct Now {
  std::int64_t wall_ms = 0;    // ms since 1970, for people
  std::int64_t steady_ms = 0;  // a clock that never steps, for intervals
};

struct Group;
struct User;
class Hub;

/// A socket as the hub sees it. It must leave the hub before it is destroyed.
class Member {
 public:
  virtual ~Member() = default;
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  Dialect dialect() const noexcept { return dialect_; }

  /// Never throws. Queues a text. `delivery` is the message where it was sent to this socket's
  /// user, to be accounted for if the socket ends first; null for everything else. False where the
  /// queue did not take it, in which case the socket sees to its own end; never leaves the hub in
  /// the call.
  virtual bool send(const OutgoingText& text, const Message* delivery) = 0;

  /// A token that the client sent to go on beyond its old one's expiry.
  virtual void refresh(std::string token) = 0;

  /// Ends the socket at an administrator's word; never leaves the hub in the call.
  virtual void end_session() = 0;

  /// An {"error":…} frame with this detail is about to be sent to it. For a log.
  virtual void on_error_sent(ErrorCode, std::string_view) noexcept {}

  /// What it said led to nothing: what it says next may wait so much longer, in microseconds.
  virtual void throttle(std::int64_t us) = 0;

 protected:
  explicit Member(Dialect dialect) noexcept : dialect_(dialect) {}

 private:
  Dialect dialect_;
};

/// A chat socket.
class ChatMember : public Member {
 protected:
  using Member::Member;

 private:
  friend class Hub;
  friend struct Group;

  Group* group_ = nullptr;  // while joined
  User* user_ = nullptr;    // null: anonymous
  // Which of the group's two users this is; for an anonymous socket, `anonymous`.
  enum class Side : std::uint8_t { lo, hi, anonymous } side_ = Side::anonymous;
  TokenBucket own_bucket_;  // an anonymous socket is limited by itself
};

/// A push socket.
class PushMember : public Member {
 protected:
  using Member::Member;

 private:
  friend class Hub;
  User* user_ = nullptr;  // while joined
};

/// Who is there of a user.
struct UserPresence {
  std::size_t push_sockets = 0;
  std::vector<std::string> groups;  // where the user is present
};

/// The relay's heart: groups, users, presence and the one decision of each message.
class Hub {
 public:
  /// `observer` must outlive the hub.
  Hub(Observer& observer, const RateLimit& limit);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  void set_rate_limit(const RateLimit& limit) noexcept { limit_ = limit; }

  /// Adds a chat socket of `user` (empty: anonymous) to `group`, which is a valid group name with
  /// `user` one of its two. A v1 member hears the other user's presence at once. Throws
  /// std::bad_alloc, and the member has not joined.
  void join_chat(ChatMember& member, std::string_view group, std::string_view user);
  void leave_chat(ChatMember& member) noexcept;

  /// Throws std::bad_alloc, and the member has not joined.
  void join_push(PushMember& member, std::string_view user);
  void leave_push(PushMember& member) noexcept;

  /// Forgets those users without a socket who may again say as much as anybody who comes anew. To
  /// be called now and then.
  void forget_rested(const Now& now) noexcept;

  /// A text frame from a chat or push socket that has joined; `text` is UTF-8. Errors go back to
  /// the member.
  void receive(ChatMember& member, std::string_view text, const Now& now);
  void receive(PushMember& member, std::string_view text, const Now& now);

  /// The appliance's own notification; `json` is one JSON text. Returns the push sockets reached.
  std::size_t notify(std::string_view user, std::string_view json, const Now& now);

  UserPresence presence(std::string_view user) const;

  /// Ends every socket of `user`; returns how many.
  std::size_t end_sessions(std::string_view user);

  std::size_t group_count() const noexcept { return groups_.size(); }
  /// With a socket, in a group with one, or remembered for what they said a moment ago.
  std::size_t user_count() const noexcept { return users_.size(); }

 private:
  using Side = ChatMember::Side;

  /// What the sets below know a user or a group by, so that the name is kept once.
  static std::string_view name_of(std::string_view name) noexcept { return name; }
  static std::string_view name_of(const std::unique_ptr<User>& user) noexcept;
  static std::string_view name_of(const std::unique_ptr<Group>& group) noexcept;
  struct Hash {
    using is_transparent = void;
    template <typename Named>
    std::size_t operator()(const Named& named) const noexcept {
      return std::hash<std::string_view>{}(name_of(named));
    }
  };
  struct Equal {
    using is_transparent = void;
    template <typename Left, typename Right>
    bool operator()(const Left& left, const Right& right) const noexcept {
      return name_of(left) == name_of(right);
    }
  };
  template <typename T>
  using ByName = std::unordered_set<std::unique_ptr<T>, Hash, Equal>;

  User& enter_user(std::string_view id);
  void release_user(User& user) noexcept;
  void rest(User& user);
  Group& enter_group(std::string_view name);
  void leave_group(Group& group) noexcept;

  void receive_message(ChatMember& sender, const Envelope& envelope, const Now& now);
  void receive_signal(ChatMember& sender, const Envelope& envelope);
  std::size_t deliver_push(const User& user, const Message& message);
  bool may_speak(ChatMember& member, const Now& now);
  void send_error(Member& member, const EnvelopeError& error);
  void refuse_for_rate(Member& member, const ShortText& id, std::string_view text);
  void tell_presence_changes(const Group& group, const bool (&before)[2]) noexcept;

  Observer& observer_;
  RateLimit limit_;
  ByName<User> users_;
  ByName<Group> groups_;

  /// A user without a socket, and when to look whether they may be forgotten. Who left and came
  /// back must not find a fresh bucket.
  struct Resting {
    std::int64_t until_ms;
    User* user;
    bool operator>(const Resting& other) const noexcept { return until_ms > other.until_ms; }
  };
  std::vector<Resting> resting_;  // a heap, the soonest first
};

}  // namespace waystation
