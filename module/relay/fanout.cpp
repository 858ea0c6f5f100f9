#include "relay/fanout.hpp"

#include <optional>

namespace waystation {
namespace {

constexpr std::size_t index(Side side) noexcept {
  return static_cast<std::size_t>(side);
}

/// An anonymous socket receives what is for either user.
bool is_receiver(const ChatMember& member, Side to, const ChatMember* sender) noexcept {
  return &member != sender && (member.side() == to || member.side() == Side::anonymous);
}

/// The number of members for which is_receiver() is true.
std::uint32_t count_receivers(const Group& group, Side to, const ChatMember* sender) noexcept {
  const bool is_sender_among = sender != nullptr && sender->side() == Side::anonymous;
  return group.sockets[index(to)] + group.sockets[index(Side::anonymous)] -
         (is_sender_among ? 1U : 0U);
}

/// Sends to each member that `is_receiver` selects, tells them how many take the message, and
/// returns how many accepted it. `receivers` is the number of those members.
template <typename Members, typename IsReceiver>
std::size_t deliver(const Members& members, std::uint32_t receivers, MessageTexts& texts,
                    IsReceiver is_receiver) {
  if (receivers == 0) return 0;
  Message message = texts.message();
  const bool is_counted_here = message.taken == 0;
  if (is_counted_here) message.taken = receivers;
  std::size_t reached = 0;
  for (auto* member : members) {
    if (is_receiver(*member) && member->send(texts.in(member->protocol()), &message)) ++reached;
  }
  if (is_counted_here && reached != receivers && reached != 0) {
    for (auto* member : members) {
      if (is_receiver(*member)) {
        member->set_taken(message.key, static_cast<std::uint32_t>(reached));
      }
    }
  }
  return reached;
}

}  // namespace

void Fanout::confirm(ChatMember& member) noexcept {
  auto& group = *member.group();
  for (const auto side : {Side::lo, Side::hi}) {
    set_reachable(group, side, group.user(side).is_reachable);
  }
  directory_.add(member);
  member.on_joined();
}

void Fanout::confirm(PushMember& member) noexcept {
  directory_.add(member);
  member.on_joined();
}

void Fanout::send_presence(ChatMember& member) noexcept {
  if (member.protocol() != Protocol::v1) return;
  TextBuffer buffer;
  // v1 sockets have a user.
  member.send(presence_of(*member.group(), opposite(member.side()), buffer), nullptr);
}

void Fanout::set_presence(Group& group, Side side, bool present) noexcept {
  auto& announced = group.is_present[index(side)];
  if (announced == present) return;
  announced = present;
  announce(group, side);
}

void Fanout::set_reachable(Group& group, Side side, bool reachable) noexcept {
  auto& announced = group.is_reachable[index(side)];
  if (announced == reachable) return;
  announced = reachable;
  if (show_reachable_ && !group.is_present[index(side)]) announce(group, side);
}

OutgoingText Fanout::presence_of(const Group& group, Side side, TextBuffer& buffer) const noexcept {
  const auto at = index(side);
  const bool present = group.is_present[at];
  std::optional<bool> reachable;
  if (show_reachable_) reachable = present || group.is_reachable[at];
  return presence_text(group.user_id(side), present, reachable, buffer);
}

void Fanout::announce(const Group& group, Side side) noexcept {
  TextBuffer buffer;
  const auto text = presence_of(group, side, buffer);
  for (auto* member : group.members) {
    if (member->protocol() == Protocol::v1 && member->side() == opposite(side)) {
      member->send(text, nullptr);
    }
  }
}

std::size_t Fanout::send_chat(const Group& group, MessageTexts& texts, const ChatMember* sender) {
  const auto to = texts.message().to_side;
  return deliver(group.members, count_receivers(group, to, sender), texts,
                 [&](const ChatMember& member) { return is_receiver(member, to, sender); });
}

std::size_t Fanout::send_push(const Message& message) {
  const auto* const user = directory_.find_user(message.to);
  return user == nullptr ? 0 : send_push(*user, message);
}

std::size_t Fanout::send_push(const User& user, const Message& message) {
  MessageTexts texts(push_text, message);
  return deliver(user.push, static_cast<std::uint32_t>(user.push.size()), texts,
                 [](const PushMember&) { return true; });
}

void Fanout::echo(const Group& group, MessageTexts& texts, const ChatMember* sender, Route route) {
  const auto& message = texts.message();
  const bool from_plain = message.from_protocol == Protocol::plain;
  for (auto* member : group.members) {
    if (is_receiver(*member, message.to_side, sender)) continue;
    if (member == sender && !from_plain) continue;  // it gets the ack
    if (route != Route::chat && from_plain && member->protocol() == Protocol::plain) continue;
    member->send(texts.in(member->protocol()), nullptr);
  }
}

void Fanout::acknowledge(ChatMember& sender, const Message& message, Decision decision) {
  if (sender.protocol() != Protocol::v1) return;
  TextBuffer buffer;
  sender.send(ack_text(message, decision, buffer), nullptr);
}

void Fanout::report(const Message& message, Decision decision) noexcept {
  const auto outcome = decision.route == Route::chat   ? Outcome::chat
                       : decision.route == Route::push ? Outcome::pushed
                                                       : Outcome::undelivered;
  observer_.on_delivery({.outcome = outcome,
                         .at = message.at,
                         .group = message.group,
                         .from = message.from,
                         .to = message.to,
                         .id = message.id,
                         .reached = decision.reached,
                         .bytes = message.value.size(),
                         .key = message.key});
}

void Fanout::report_dropped(const Message& message, std::size_t sockets) noexcept {
  for (; sockets != 0; --sockets) {
    observer_.on_delivery({Outcome::dropped, message.at, message.group, message.from, message.to,
                           message.id, 0, message.value.size(), EndReason::closed, message.key,
                           message.taken});
  }
}

void Fanout::send_signal(const Group& group, const Message& signal, const ChatMember* sender) {
  TextBuffer buffer;
  const auto text = signal_text(signal.value, signal.from, buffer);
  for (auto* member : group.members) {
    if (member != sender && member->protocol() == Protocol::v1) member->send(text, nullptr);
  }
}

void Fanout::send_signal(const Group& group, Side side, const Message& signal,
                         const ChatMember* sender) {
  TextBuffer buffer;
  const auto text = signal_text(signal.value, signal.from, buffer);
  for (auto* member : group.members) {
    if (member != sender && member->side() == side && member->protocol() == Protocol::v1) {
      member->send(text, nullptr);
    }
  }
}

void Fanout::send_error(Member& member, const EnvelopeError& error) {
  observer_.on_error_sent(error.code);
  member.on_error_sent(error.code, error.detail);
  member.send({error_text(error.code, error.detail, error.id.view()), {}, {}}, nullptr);
}

}  // namespace waystation
