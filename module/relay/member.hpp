// A socket as the relay sees it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "relay/message.hpp"
#include "relay/missed.hpp"
#include "relay/outgoing.hpp"
#include "relay/rate_limit.hpp"

namespace waystation {

struct Group;
struct User;
class Directory;

/// A socket of this node. The router is told before it is destroyed (Router::leave). No call below
/// may do that: an implementation that has to end its socket does so after the call.
class Member {
 public:
  virtual ~Member() = default;
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  Protocol protocol() const noexcept { return protocol_; }
  /// Whether the join is confirmed: the socket counts as present and receives texts.
  bool is_joined() const noexcept { return is_joined_; }

  /// The join is confirmed. Called once, before anything is sent; with LocalBackplane inside
  /// Router::join, with a backplane that answers later at any time until the member leaves.
  virtual void on_joined() noexcept = 0;

  /// Queues a text. Never throws. `delivery` is the message if this socket's user is its receiver,
  /// so that a loss can be reported; null for everything else. False: the queue did not accept the
  /// text, and the socket will end itself.
  virtual bool send(const OutgoingText& text, const Message* delivery) = 0;

  /// A correction for the delivery that send() accepted last, if its message has this key: fewer
  /// sockets than Message::taken said accepted it.
  virtual void set_taken(std::uint64_t /*key*/, std::uint32_t /*sockets*/) noexcept {}

  /// The client sent a new token, in order to stay connected after the old one expires. An error
  /// has the frame's id.
  virtual void refresh(std::string token, const ShortText& id) = 0;

  /// The client of a push socket asked what its user missed. The answer is sent later; an error has
  /// the frame's id.
  virtual void ask_missed(MissedQuestion /*question*/, const ShortText& /*id*/) {}

  /// An administrator ends the socket.
  virtual void end_session() = 0;

  /// The relay gives the socket up: its client should connect again.
  virtual void go_away() = 0;

  /// An {"error":…} frame with this detail is about to be sent to it. For a log.
  virtual void on_error_sent(ErrorCode, std::string_view) noexcept {}

  /// Pauses reading for `us` microseconds more: the client's last text had no useful effect.
  virtual void throttle(std::int64_t us) = 0;

 protected:
  explicit Member(Protocol protocol) noexcept : protocol_(protocol) {}

 private:
  friend class Directory;

  Protocol protocol_;
  bool is_joined_ = false;
};

/// A chat socket.
class ChatMember : public Member {
 public:
  /// From Router::join to Router::leave; before and after that null.
  Group* group() const noexcept { return group_; }
  /// Null: anonymous.
  User* user() const noexcept { return user_; }
  Side side() const noexcept { return side_; }

  /// What this socket may send: its user's bucket, or its own if it is anonymous.
  TokenBucket& rate_bucket() noexcept;

 protected:
  using Member::Member;

 private:
  friend class Directory;

  Side side_ = Side::anonymous;
  Group* group_ = nullptr;
  User* user_ = nullptr;
  std::unique_ptr<TokenBucket> own_bucket_;  // of an anonymous socket
};

/// A push socket.
class PushMember : public Member {
 public:
  /// From Router::join to Router::leave; before and after that null.
  User* user() const noexcept { return user_; }

 protected:
  using Member::Member;

 private:
  friend class Directory;

  User* user_ = nullptr;
};

}  // namespace waystation
