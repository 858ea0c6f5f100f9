// What connects the nodes of one relay, and decides where each message goes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "relay/directory.hpp"
#include "relay/member.hpp"
#include "relay/message.hpp"
#include "relay/missed.hpp"
#include "relay/node_list.hpp"
#include "relay/user_listing.hpp"

namespace waystation {

/// Receives the result of a call, once.
template <typename T>
using Answer = std::function<void(T)>;

/// Stands between the router, which checks what a socket sends, and the fan-out, which sends to the
/// sockets of this node. Every function may answer inside the call or later, through Fanout, on the
/// relay's thread. Whatever the time of the answers:
///
/// - Each group has one order: chat messages, echoes and signals reach all its sockets in the order
///   of the decisions.
/// - Each message has one decision. The sender's node reports it to the observer, also if the
///   sender's socket has left. If the socket is still there, it gets the ack.
/// - Views and references in arguments are valid for the call only; OwnedMessage keeps a message.
///
/// Functions that are not noexcept may throw std::bad_alloc, and then have had no effect.
class Backplane {
 public:
  virtual ~Backplane() = default;

  /// A socket that the directory has reserved. The answer is Fanout::confirm(), with the presence
  /// of the other user behind it for chat sockets. Reachability::set_has_push() follows where a
  /// user now has a push socket on any node; before the confirmation, where a chat socket makes
  /// this known to the node.
  virtual void join(ChatMember& member) = 0;
  virtual void join(PushMember& member) = 0;

  /// A socket that leaves, whether its join was confirmed or not. It receives nothing any more, and
  /// still has its group or user. No pointer to it may be used after the call. The user may have no
  /// push socket on any node then: Reachability::set_has_push().
  virtual void leave(ChatMember& member) noexcept = 0;
  virtual void leave(PushMember& member) noexcept = 0;

  /// A message of a chat socket that has joined. Calls Fanout::send_chat() if the receiver is
  /// present. If no chat socket accepted the message, calls send_push(). Then echo(), acknowledge()
  /// and report() with the route that accepted it.
  virtual void publish(ChatMember& sender, const Message& message) = 0;

  /// A signal of a chat socket that has joined: Fanout::send_signal(), with no decision and no
  /// report.
  virtual void publish_signal(ChatMember& sender, const Message& signal) = 0;

  /// A notification from the host application: Fanout::send_push() and report(). The answer is the
  /// number of push sockets that accepted it.
  virtual void notify(const Message& notification, Answer<SocketCount> answer) = 0;

  virtual void presence(std::string_view user, Answer<UserPresence> answer) = 0;

  /// Ends every socket of `user`. The answer is their number.
  virtual void end_sessions(std::string_view user, Answer<SocketCount> answer) = 0;
};

/// A backplane for several nodes. It also answers the questions that one node answers without a
/// backplane, for all of them.
class ClusterBackplane : public Backplane {
 public:
  /// What `user` missed, by the audits of all nodes: see MissedAnswers.
  virtual void missed(std::string user, MissedQuestion question, Answer<MissedAnswer> answer) = 0;

  /// The first `limit` users after the name `after`, of all nodes. See UserListing::list().
  virtual void list_users(std::string_view after, std::size_t limit,
                          UserListing::Answer answer) = 0;

  /// The nodes, as the engines know them. If no engine answers: this one.
  virtual void list_nodes(Answer<NodeList> answer) = 0;
};

/// What a ClusterBackplane asks its own node. The answers come on the relay's thread, inside the
/// call or later, and never after the backplane's end. Functions may throw std::bad_alloc, and
/// there is no answer then.
class NodeCalls {
 public:
  virtual void missed_here(std::string user, MissedQuestion question,
                           Answer<MissedAnswer> answer) = 0;
  /// See UserListing::list().
  virtual void list_users_here(std::string_view after, std::size_t limit, std::int64_t until_ms,
                               UserListing::Answer answer) = 0;

 protected:
  ~NodeCalls() = default;
};

}  // namespace waystation
