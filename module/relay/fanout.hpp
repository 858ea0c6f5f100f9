// The last step of everything that is sent: the sockets of this node. What they accept decides the
// route.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "relay/directory.hpp"
#include "relay/envelope.hpp"
#include "relay/member.hpp"
#include "relay/message.hpp"
#include "relay/observer.hpp"
#include "relay/outgoing.hpp"

namespace waystation {

/// Writes texts and hands them to members, and reports outcomes to the observer. It chooses the
/// sockets of a route; the backplane chooses the route. The router calls it for errors, the
/// backplane for the rest. One thread.
///
/// `sender` is the socket that a message came from, or null if it has left or belongs to another
/// node.
class Fanout {
 public:
  /// Both must outlive this object.
  Fanout(Directory& directory, Observer& observer) noexcept
      : directory_(directory), observer_(observer) {}

  // ---- joins and presence

  /// Confirms a join: the member is present and receives texts from now on. A chat socket's group
  /// then knows who of its users is reachable.
  void confirm(ChatMember& member) noexcept;
  void confirm(PushMember& member) noexcept;

  /// Tells a v1 member whether the other user is present and reachable; others get nothing.
  void send_presence(ChatMember& member) noexcept;

  /// Sets whether `side` is present in the group. A change is sent to the v1 members of the other
  /// side.
  void set_presence(Group& group, Side side, bool present) noexcept;

  /// Sets whether the user of `side` has a push socket. It is sent likewise if it changes what the
  /// members know: a user who is present is reachable anyway.
  void set_reachable(Group& group, Side side, bool reachable) noexcept;

  /// Whether presence frames say who is reachable. Applies to the frames from now on.
  void set_show_reachable(bool show) noexcept { show_reachable_ = show; }

  // ---- messages

  /// The key of the next message of this node.
  std::uint64_t next_key() noexcept { return ++last_key_; }

  /// Sends to the receiver's chat sockets, and returns how many accepted the message.
  std::size_t send_chat(const Group& group, MessageTexts& texts, const ChatMember* sender);

  /// Sends to the push sockets of message.to, and returns how many accepted the message.
  std::size_t send_push(const Message& message);
  std::size_t send_push(const User& user, const Message& message);

  /// Shows a message to the sockets on its sender's side. A plain sender sees its own message only
  /// if it went by chat, as in the original protocol; v1 sockets see it on every route.
  void echo(const Group& group, MessageTexts& texts, const ChatMember* sender, Route route);

  /// Sends the ack, if the sender speaks v1.
  void acknowledge(ChatMember& sender, const Message& message, Decision decision);

  /// Reports the outcome to the observer: once a message, on the node that it came from.
  void report(const Message& message, Decision decision) noexcept;

  /// Reports `sockets` sockets that were counted as reached, and did not accept the message.
  void report_dropped(const Message& message, std::size_t sockets) noexcept;

  /// Sends a signal to all v1 members of the group but its sender; or to those of one side.
  void send_signal(const Group& group, const Message& signal, const ChatMember* sender);
  void send_signal(const Group& group, Side side, const Message& signal, const ChatMember* sender);

  // ---- errors

  void send_error(Member& member, const EnvelopeError& error);

 private:
  void announce(const Group& group, Side side) noexcept;
  OutgoingText presence_of(const Group& group, Side side, TextBuffer& buffer) const noexcept;

  Directory& directory_;
  Observer& observer_;
  bool show_reachable_ = true;
  std::uint64_t last_key_ = 0;
};

}  // namespace waystation
