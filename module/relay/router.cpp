#include "relay/router.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace waystation {
namespace {

/// Microseconds for which a socket is not read whose text had no useful effect. Handling such a
/// text takes about 1 µs, and 1 µs more for each 1,000 bytes: a socket that sends nothing else gets
/// one hundredth of the thread. The limit is far below the time after which a silent socket is
/// closed.
std::int64_t pause_for(std::string_view text) noexcept {
  constexpr std::size_t kMaxUs = 1'000'000;
  return static_cast<std::int64_t>(std::min(100 + text.size() / 10, kMaxUs));
}

const ShortText& id_of(const Result<Envelope, EnvelopeError>& frame) {
  return frame ? frame->id : frame.error().id;
}

std::string both_users(const Group& group) {
  return std::string(group.user_id(Side::lo)).append(" and ").append(group.user_id(Side::hi));
}

/// Reserves, then joins; undoes the first if the second throws.
template <typename M, typename... Names>
void reserve_and_join(Directory& directory, Backplane& backplane, M& member, Names... names) {
  directory.reserve(member, names...);
  try {
    backplane.join(member);
  } catch (...) {
    directory.release(member);
    throw;
  }
}

}  // namespace

void Router::join(ChatMember& member, std::string_view group, std::string_view user) {
  reserve_and_join(directory_, backplane_, member, group, user);
}

void Router::join(PushMember& member, std::string_view user) {
  reserve_and_join(directory_, backplane_, member, user);
}

void Router::leave(ChatMember& member) noexcept {
  directory_.remove(member);
  backplane_.leave(member);
  directory_.release(member);
}

void Router::leave(PushMember& member) noexcept {
  directory_.remove(member);
  backplane_.leave(member);
  directory_.release(member);
}

void Router::refuse_for_rate(Member& member, const ShortText& id, std::string_view text) {
  const auto& limit = directory_.rate_limit();
  fanout_.send_error(member, {ErrorCode::rate_limited,
                              "frame: rate limit exceeded, not delivered; allowed are " +
                                  std::to_string(limit.per_second) + " frames per second and " +
                                  std::to_string(limit.burst) + " in a burst",
                              id});
  member.throttle(pause_for(text));
}

void Router::receive(ChatMember& member, std::string_view text, const Now& now) {
  auto frame = read_envelope(text, member.protocol(), SocketKind::chat);
  if (!member.rate_bucket().take(directory_.rate_limit(), now.steady_ms)) {
    return refuse_for_rate(member, id_of(frame), text);
  }
  if (!frame) return fanout_.send_error(member, frame.error());
  auto& envelope = *frame;
  switch (envelope.kind) {
    case Envelope::Kind::message:
      return receive_message(member, envelope, now);
    case Envelope::Kind::signal: {
      const auto& group = *member.group();
      // Only v1 has signals, and its sockets have a user.
      return backplane_.publish_signal(
          member, {envelope.value, group.name(), member.user()->name(), {}, {}, now.wall_ms});
    }
    case Envelope::Kind::token:
      return member.refresh(std::move(envelope.token), envelope.id);
    case Envelope::Kind::ping:
      member.send(pong_text(envelope.value), nullptr);
      return;
    case Envelope::Kind::missed:
      return;  // read_envelope() refuses it here
  }
}

void Router::receive(PushMember& member, std::string_view text, const Now& now) {
  if (member.protocol() == Protocol::plain) return member.throttle(pause_for(text));
  auto frame = read_envelope(text, member.protocol(), SocketKind::push);
  if (!member.user()->bucket.take(directory_.rate_limit(), now.steady_ms)) {
    return refuse_for_rate(member, id_of(frame), text);
  }
  if (!frame) return fanout_.send_error(member, frame.error());
  auto& envelope = *frame;
  if (envelope.kind == Envelope::Kind::ping) {
    member.send(pong_text(envelope.value), nullptr);
  } else if (envelope.kind == Envelope::Kind::token) {
    member.refresh(std::move(envelope.token), envelope.id);
  } else {
    auto question = read_missed(envelope.value);
    if (!question) {
      return fanout_.send_error(member, {ErrorCode::bad_envelope, question.error(), envelope.id});
    }
    member.ask_missed(std::move(*question), envelope.id);
  }
}

void Router::receive_message(ChatMember& sender, const Envelope& envelope, const Now& now) {
  const auto& group = *sender.group();
  const bool is_anonymous = sender.side() == Side::anonymous;
  // An anonymous sender names the receiver, and counts as the other user.
  auto to = is_anonymous ? Side::anonymous : opposite(sender.side());
  if (envelope.has_to_user) {
    const auto name = envelope.to_user.view();
    if (is_anonymous && name == group.user_id(Side::lo)) to = Side::lo;
    if (is_anonymous && name == group.user_id(Side::hi)) to = Side::hi;
    if (to == Side::anonymous || name != group.user_id(to)) {
      return fanout_.send_error(
          sender,
          {ErrorCode::not_a_member,
           is_anonymous ? "to_user: not a user of this group; allowed are " + both_users(group)
                        : std::string("to_user: not the other user of this group; allowed is ")
                              .append(group.user_id(to)),
           envelope.id});
    }
  }
  if (to == Side::anonymous) {
    return fanout_.send_error(
        sender,
        {ErrorCode::bad_envelope,
         "to_user: missing on an anonymous socket; allowed are " + both_users(group), envelope.id});
  }
  backplane_.publish(sender,
                     {envelope.value, group.name(), group.user_id(opposite(to)), group.user_id(to),
                      envelope.id.view(), now.wall_ms, to, sender.protocol(), fanout_.next_key()});
}

void Router::notify(std::string_view user, std::string_view json, const Now& now,
                    Answer<SocketCount> answer) {
  Message notification{json, {}, {}, user, {}, now.wall_ms};
  notification.key = fanout_.next_key();
  backplane_.notify(notification, std::move(answer));
}

}  // namespace waystation
