#include "relay/local_backplane.hpp"

namespace waystation {

void LocalBackplane::join(ChatMember& member) {
  fanout_.confirm(member);
  fanout_.send_presence(member);
  update_presence(*member.group());
}

void LocalBackplane::join(PushMember& member) {
  fanout_.confirm(member);
  reachability_.set_has_push(*member.user(), true);
}

void LocalBackplane::leave(PushMember& member) noexcept {
  auto& user = *member.user();
  reachability_.set_has_push(user, !user.push.empty());
}

void LocalBackplane::update_presence(Group& group) noexcept {
  for (const auto side : {Side::lo, Side::hi}) {
    fanout_.set_presence(group, side, group.has_socket(side));
  }
}

void LocalBackplane::publish(ChatMember& sender, const Message& message) {
  const auto& group = *sender.group();
  MessageTexts texts(chat_text, message);
  // A receiver whose queues are all full counts as absent.
  Decision decision{Route::chat, fanout_.send_chat(group, texts, &sender)};
  if (decision.reached == 0) {
    decision.reached = fanout_.send_push(group.user(message.to_side), message);
    decision.route = decision.reached != 0 ? Route::push : Route::none;
  }
  fanout_.echo(group, texts, &sender, decision.route);
  fanout_.acknowledge(sender, message, decision);
  fanout_.report(message, decision);
}

void LocalBackplane::publish_signal(ChatMember& sender, const Message& signal) {
  fanout_.send_signal(*sender.group(), signal, &sender);
}

void LocalBackplane::notify(const Message& notification, Answer<SocketCount> answer) {
  const auto reached = fanout_.send_push(notification);
  fanout_.report(notification, {reached != 0 ? Route::push : Route::none, reached});
  answer({reached});
}

void LocalBackplane::presence(std::string_view user, Answer<UserPresence> answer) {
  answer(directory_.presence(user));
}

void LocalBackplane::end_sessions(std::string_view user, Answer<SocketCount> answer) {
  answer({directory_.end_sessions(user)});
}

}  // namespace waystation
