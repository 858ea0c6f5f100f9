// What happens to a text that a client sends.
#pragma once

#include <cstddef>
#include <string_view>

#include "relay/backplane.hpp"
#include "relay/directory.hpp"
#include "relay/envelope.hpp"
#include "relay/fanout.hpp"
#include "relay/member.hpp"
#include "relay/now.hpp"

namespace waystation {

/// Reads envelopes, applies the rate limit, finds out who a message is from and for, and hands it
/// to the backplane. Errors go back to the socket. It uses no socket, clock or thread:
/// sockets are members, the time is an argument, and all calls come on one thread.
class Router {
 public:
  /// All must outlive the router.
  Router(Directory& directory, Fanout& fanout, Backplane& backplane) noexcept
      : directory_(directory), fanout_(fanout), backplane_(backplane) {}

  /// Adds a chat socket of `user` (empty: anonymous) to `group`, which is a valid group name with
  /// `user` one of its two users. Member::on_joined() follows once the backplane confirms; a v1
  /// member then gets the other user's presence. Throws std::bad_alloc, and the member has not
  /// joined.
  void join(ChatMember& member, std::string_view group, std::string_view user);
  void join(PushMember& member, std::string_view user);

  /// Once after join(), whether that was confirmed or not.
  void leave(ChatMember& member) noexcept;
  void leave(PushMember& member) noexcept;

  /// A text frame from a member that has joined; `text` is UTF-8. Throws std::bad_alloc.
  void receive(ChatMember& member, std::string_view text, const Now& now);
  void receive(PushMember& member, std::string_view text, const Now& now);

  /// A notification from the host application; `json` is one JSON text. See Backplane::notify.
  void notify(std::string_view user, std::string_view json, const Now& now,
              Answer<SocketCount> answer);

 private:
  void receive_message(ChatMember& sender, const Envelope& envelope, const Now& now);
  void refuse_for_rate(Member& member, const ShortText& id, std::string_view text);

  Directory& directory_;
  Fanout& fanout_;
  Backplane& backplane_;
};

}  // namespace waystation
