// Decides for each message: chat, push fallback or nobody. The backplane of a relay on one node.
#pragma once

#include "relay/backplane.hpp"
#include "relay/fanout.hpp"
#include "relay/reachability.hpp"

namespace waystation {

/// Answers everything inside the call, from the directory. A message allocates nothing here.
class LocalBackplane final : public Backplane {
 public:
  /// All must outlive this object.
  LocalBackplane(Directory& directory, Fanout& fanout, Reachability& reachability) noexcept
      : directory_(directory), fanout_(fanout), reachability_(reachability) {}

  void join(ChatMember& member) override;
  void join(PushMember& member) override;
  void leave(ChatMember& member) noexcept override { update_presence(*member.group()); }
  void leave(PushMember& member) noexcept override;
  void publish(ChatMember& sender, const Message& message) override;
  void publish_signal(ChatMember& sender, const Message& signal) override;
  void notify(const Message& notification, Answer<SocketCount> answer) override;
  void presence(std::string_view user, Answer<UserPresence> answer) override;
  void end_sessions(std::string_view user, Answer<SocketCount> answer) override;

 private:
  void update_presence(Group& group) noexcept;

  Directory& directory_;
  Fanout& fanout_;
  Reachability& reachability_;
};

}  // namespace waystation
