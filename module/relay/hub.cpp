#include "relay/hub.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "relay/names.hpp"

namespace waystation {

/// A user somebody here has to do with: a member of a group, or with push sockets.
struct User {
  std::string id;
  std::size_t references = 0;  // groups and push sockets
  TokenBucket bucket;          // what the user may say, on all sockets together
  std::vector<PushMember*> push;
  std::vector<Group*> groups;  // groups named after the user, with a socket in them
  bool is_resting = false;     // stands in the hub's list of those
};

/// A group with at least one socket in it.
struct Group {
  std::string name;
  std::array<User*, 2> users{};          // lo, hi
  std::array<std::size_t, 3> sockets{};  // of lo, of hi, anonymous
  std::vector<ChatMember*> members;

  /// Whether user 0 or 1 is present to the other one: an anonymous socket stands for both.
  bool is_present(std::size_t user) const noexcept {
    return sockets[user] != 0 ||
           sockets[static_cast<std::size_t>(ChatMember::Side::anonymous)] != 0;
  }
};

namespace {

template <typename T>
void erase_unordered(std::vector<T>& values, const T& value) {
  const auto found = std::ranges::find(values, value);
  *found = values.back();
  values.pop_back();
}

/// Makes sure that the next push_back does not throw.
template <typename T>
void make_room_for_one(std::vector<T>& values) {
  if (values.size() == values.capacity())
    values.reserve(std::max<std::size_t>(4, 2 * values.size()));
}

constexpr std::size_t other(std::size_t user) noexcept {
  return 1 - user;
}

/// A message's text in each dialect, made when the first socket needs it.
class Texts {
 public:
  using Maker = OutgoingText(Dialect, const Message&, TextBuffer&) noexcept;

  Texts(Maker& make, const Message& message) noexcept : make_(make), message_(message) {}

  const OutgoingText& in(Dialect dialect) noexcept {
    auto& one = made_[static_cast<std::size_t>(dialect)];
    if (one.text.size() == 0) one.text = make_(dialect, message_, one.buffer);
    return one.text;
  }

 private:
  struct One {
    OutgoingText text;  // empty: not made yet
    TextBuffer buffer;
  };

  Maker& make_;
  const Message& message_;
  std::array<One, 2> made_;
};

}  // namespace

std::string_view Hub::name_of(const std::unique_ptr<User>& user) noexcept {
  return user->id;
}
std::string_view Hub::name_of(const std::unique_ptr<Group>& group) noexcept {
  return group->name;
}

Hub::Hub(Observer& observer, const RateLimit& limit) : observer_(observer), limit_(limit) {}
Hub::~Hub() = default;

User& Hub::enter_user(std::string_view id) {
  auto found = users_.find(id);
  if (found == users_.end()) {
    auto user = std::make_unique<User>();
    user->id = id;
    found = users_.insert(std::move(user)).first;
  }
  ++(*found)->references;
  return **found;
}

void Hub::release_user(User& user) noexcept {
  if (--user.references != 0 || user.is_resting) return;
  try {
    rest(user);
  } catch (...) {
    // Without memory to remember them by, they are forgotten.
  }
  if (!user.is_resting) users_.erase(users_.find(user.id));
}

void Hub::rest(User& user) {
  const auto until_ms = user.bucket.full_at_ms(limit_);
  if (until_ms <= user.bucket.since_ms()) return;  // they said nothing
  resting_.push_back({until_ms, &user});
  std::ranges::push_heap(resting_, std::greater<>());
  user.is_resting = true;
}

void Hub::forget_rested(const Now& now) noexcept {
  while (!resting_.empty() && resting_.front().until_ms <= now.steady_ms) {
    std::ranges::pop_heap(resting_, std::greater<>());
    auto& last = resting_.back();
    auto& user = *last.user;
    // They may have come back and gone again, having said more.
    const auto until_ms = user.bucket.full_at_ms(limit_);
    if (user.references == 0 && until_ms > now.steady_ms) {
      last.until_ms = until_ms;
      std::ranges::push_heap(resting_, std::greater<>());
      continue;
    }
    resting_.pop_back();
    user.is_resting = false;
    if (user.references == 0) users_.erase(users_.find(user.id));
  }
}

Group& Hub::enter_group(std::string_view name) {
  if (const auto found = groups_.find(name); found != groups_.end()) return **found;
  auto made = std::make_unique<Group>();
  auto& group = *made;
  group.name = name;
  const auto ids = parse_group(name);
  std::array<User*, 2> entered{};
  try {
    entered[0] = &enter_user(ids->lo);
    entered[1] = &enter_user(ids->hi);
    for (auto* user : entered) make_room_for_one(user->groups);
    groups_.insert(std::move(made));
  } catch (...) {
    for (auto* user : entered) {
      if (user != nullptr) release_user(*user);
    }
    throw;
  }
  group.users = entered;
  for (auto* user : entered) user->groups.push_back(&group);
  return group;
}

void Hub::leave_group(Group& group) noexcept {
  if (!group.members.empty()) return;
  for (auto* user : group.users) {
    erase_unordered(user->groups, &group);
    release_user(*user);
  }
  groups_.erase(groups_.find(group.name));
}

void Hub::join_chat(ChatMember& member, std::string_view group_name, std::string_view user) {
  auto& group = enter_group(group_name);
  member.group_ = &group;
  member.side_ = user.empty() ? Side::anonymous : user == group.users[0]->id ? Side::lo : Side::hi;
  const auto side = static_cast<std::size_t>(member.side_);
  member.user_ = member.side_ == Side::anonymous ? nullptr : group.users[side];

  const bool before[2] = {group.is_present(0), group.is_present(1)};
  try {
    make_room_for_one(group.members);
    if (member.dialect() == Dialect::v1) {
      // A v1 member has a name, so there is one other user.
      TextBuffer buffer;
      // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): which the analyzer cannot know
      member.send(presence_text(group.users[other(side)]->id, before[other(side)], buffer),
                  nullptr);
    }
  } catch (...) {
    member.group_ = nullptr;
    leave_group(group);
    throw;
  }
  ++group.sockets[side];
  tell_presence_changes(group, before);
  group.members.push_back(&member);
}

void Hub::leave_chat(ChatMember& member) noexcept {
  auto& group = *std::exchange(member.group_, nullptr);
  const bool before[2] = {group.is_present(0), group.is_present(1)};
  erase_unordered(group.members, &member);
  --group.sockets[static_cast<std::size_t>(member.side_)];
  tell_presence_changes(group, before);
  leave_group(group);
}

void Hub::tell_presence_changes(const Group& group, const bool (&before)[2]) noexcept {
  for (std::size_t user = 0; user < 2; ++user) {
    if (group.is_present(user) == before[user]) continue;
    TextBuffer buffer;
    const auto text = presence_text(group.users[user]->id, !before[user], buffer);
    for (auto* member : group.members) {
      if (member->dialect() == Dialect::v1 &&
          static_cast<std::size_t>(member->side_) == other(user)) {
        member->send(text, nullptr);
      }
    }
  }
}

void Hub::join_push(PushMember& member, std::string_view user) {
  auto& entered = enter_user(user);
  try {
    entered.push.push_back(&member);
  } catch (...) {
    release_user(entered);
    throw;
  }
  member.user_ = &entered;
}

void Hub::leave_push(PushMember& member) noexcept {
  auto& user = *std::exchange(member.user_, nullptr);
  erase_unordered(user.push, &member);
  release_user(user);
}

bool Hub::may_speak(ChatMember& member, const Now& now) {
  auto& bucket = member.user_ != nullptr ? member.user_->bucket : member.own_bucket_;
  return bucket.take(limit_, now.steady_ms);
}

void Hub::send_error(Member& member, const EnvelopeError& error) {
  observer_.on_error_sent(error.code);
  member.on_error_sent(error.code, error.detail);
  const auto text = error_text(error.code, error.detail, error.id.view());
  member.send({text, {}, {}}, nullptr);
}

namespace {

/// For how many microseconds a socket is not read that said what leads to nothing. To deal with
/// that takes about a microsecond, and one more a thousand bytes: a socket that says nothing else
/// so takes a hundredth of the thread from all others. Much shorter than the time in which it must
/// be heard.
std::int64_t pause_for(std::string_view text) noexcept {
  constexpr std::size_t kLongestUs = 1'000'000;
  return static_cast<std::int64_t>(std::min(100 + text.size() / 10, kLongestUs));
}

}  // namespace

void Hub::refuse_for_rate(Member& member, const ShortText& id, std::string_view text) {
  send_error(member, {ErrorCode::rate_limited,
                      "more than " + std::to_string(limit_.per_second) + " messages a second (" +
                          std::to_string(limit_.burst) + " in a burst); this one was not passed on",
                      id});
  member.throttle(pause_for(text));
}

namespace {

const ShortText& id_of(const std::variant<Envelope, EnvelopeError>& frame) {
  return std::visit([](const auto& f) -> const ShortText& { return f.id; }, frame);
}

}  // namespace

void Hub::receive(ChatMember& member, std::string_view text, const Now& now) {
  auto frame = read_envelope(text, member.dialect(), SocketKind::chat);
  if (!may_speak(member, now)) return refuse_for_rate(member, id_of(frame), text);
  if (const auto* error = std::get_if<EnvelopeError>(&frame)) return send_error(member, *error);
  auto& envelope = std::get<Envelope>(frame);
  switch (envelope.kind) {
    case Envelope::Kind::message:
      return receive_message(member, envelope, now);
    case Envelope::Kind::signal:
      return receive_signal(member, envelope);
    case Envelope::Kind::token:
      return member.refresh(std::move(envelope.token));
    case Envelope::Kind::ping:
      member.send(pong_text(envelope.value), nullptr);
      return;
  }
}

void Hub::receive(PushMember& member, std::string_view text, const Now& now) {
  if (member.dialect() == Dialect::plain) return member.throttle(pause_for(text));
  auto frame = read_envelope(text, member.dialect(), SocketKind::push);
  if (!member.user_->bucket.take(limit_, now.steady_ms)) {
    return refuse_for_rate(member, id_of(frame), text);
  }
  if (const auto* error = std::get_if<EnvelopeError>(&frame)) return send_error(member, *error);
  auto& envelope = std::get<Envelope>(frame);
  if (envelope.kind == Envelope::Kind::ping) {
    member.send(pong_text(envelope.value), nullptr);
  } else {
    member.refresh(std::move(envelope.token));
  }
}

void Hub::receive_message(ChatMember& sender, const Envelope& envelope, const Now& now) {
  auto& group = *sender.group_;
  const auto side = static_cast<std::size_t>(sender.side_);
  const bool anonymous = sender.side_ == Side::anonymous;

  // Which of the group's two it is for. An anonymous sender is taken for the other one.
  std::size_t to = anonymous ? 2 : other(side);
  if (envelope.has_to_user) {
    const auto name = envelope.to_user.view();
    if (anonymous && name == group.users[0]->id) to = 0;
    if (anonymous && name == group.users[1]->id) to = 1;
    if (to == 2 || name != group.users[to]->id) {
      return send_error(sender, {ErrorCode::not_a_member,
                                 anonymous ? "to_user is neither " + group.users[0]->id + " nor " +
                                                 group.users[1]->id + ", the two of this group"
                                           : "to_user can only be " + group.users[to]->id +
                                                 ", the other user of this group",
                                 envelope.id});
    }
  }
  if (to == 2) {
    return send_error(sender, {ErrorCode::bad_envelope,
                               "to_user must say which of the two the message is for, since this "
                               "socket did not say whose it is",
                               envelope.id});
  }

  const Message message{envelope.value,      group.name,         group.users[other(to)]->id,
                        group.users[to]->id, envelope.id.view(), now.wall_ms};
  const auto is_receiver = [&](const ChatMember* member) {
    return member != &sender &&
           (member->side_ == Side::anonymous || static_cast<std::size_t>(member->side_) == to);
  };
  Texts texts(chat_text, message);

  // The receiver's chat sockets come first: only if one of them takes it was it said in the group.
  std::size_t reached = 0;
  Route route = Route::none;
  for (auto* member : group.members) {
    if (is_receiver(member) && member->send(texts.in(member->dialect()), &message)) ++reached;
  }
  if (reached != 0) {
    route = Route::chat;
  } else if (reached = deliver_push(*group.users[to], message); reached != 0) {
    route = Route::push;
  }

  // Then the sender's side. A plain sender sees its words again only when the other one is there,
  // as in the original protocol; v1 sockets see on every route what their user said elsewhere.
  for (auto* member : group.members) {
    if (is_receiver(member)) continue;
    if (member == &sender && sender.dialect() == Dialect::v1) continue;
    if (route != Route::chat && sender.dialect() == Dialect::plain &&
        member->dialect() == Dialect::plain) {
      continue;
    }
    member->send(texts.in(member->dialect()), nullptr);
  }
  if (sender.dialect() == Dialect::v1) {
    TextBuffer buffer;
    sender.send(ack_text(message, route, reached, buffer), nullptr);
  }

  const auto outcome = route == Route::chat   ? Outcome::chat
                       : route == Route::push ? Outcome::pushed
                                              : Outcome::undelivered;
  observer_.on_delivery({outcome, message.at, message.group, message.from, message.to, message.id,
                         reached, message.value.size()});
}

void Hub::receive_signal(ChatMember& sender, const Envelope& envelope) {
  TextBuffer buffer;
  const auto text = signal_text(envelope.value, sender.user_->id, buffer);
  for (auto* member : sender.group_->members) {
    if (member != &sender && member->dialect() == Dialect::v1) member->send(text, nullptr);
  }
}

std::size_t Hub::deliver_push(const User& user, const Message& message) {
  Texts texts(push_text, message);
  std::size_t reached = 0;
  for (auto* member : user.push) {
    if (member->send(texts.in(member->dialect()), &message)) ++reached;
  }
  return reached;
}

std::size_t Hub::notify(std::string_view user, std::string_view json, const Now& now) {
  const Message message{json, {}, {}, user, {}, now.wall_ms};
  const auto found = users_.find(user);
  const auto reached = found == users_.end() ? 0 : deliver_push(**found, message);
  observer_.on_delivery({reached != 0 ? Outcome::pushed : Outcome::undelivered,
                         message.at,
                         {},
                         {},
                         user,
                         {},
                         reached,
                         json.size()});
  return reached;
}

UserPresence Hub::presence(std::string_view user) const {
  UserPresence presence;
  const auto found = users_.find(user);
  if (found == users_.end()) return presence;
  presence.push_sockets = (*found)->push.size();
  for (const auto* group : (*found)->groups) {
    const std::size_t side = group->users[0] == found->get() ? 0 : 1;
    if (group->sockets[side] != 0) presence.groups.push_back(group->name);
  }
  std::ranges::sort(presence.groups);
  return presence;
}

std::size_t Hub::end_sessions(std::string_view user) {
  const auto found = users_.find(user);
  if (found == users_.end()) return 0;
  std::size_t ended = (*found)->push.size();
  for (auto* member : (*found)->push) member->end_session();
  for (const auto* group : (*found)->groups) {
    for (auto* member : group->members) {
      if (member->user_ != found->get()) continue;
      member->end_session();
      ++ended;
    }
  }
  return ended;
}

}  // namespace waystation
