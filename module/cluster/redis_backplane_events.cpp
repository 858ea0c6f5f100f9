// What arrives from the engine, in its order.
#include <new>

#include "cluster/redis_backplane.hpp"
#include "relay/outgoing.hpp"

namespace waystation {
namespace {

/// Whether the entry is the message of this header, which anybody who can publish could have made
/// up: it is not sealed where it comes alone.
bool is_message_of(const InFlight::Entry& entry, const NodeHeader& header) noexcept {
  const auto& message = entry.message.view();
  return entry.kind == InFlight::Kind::message && message.group == header.group &&
         message.to_side == header.to_side;
}

}  // namespace

void RedisBackplane::on_event(Shard& shard, const Channel& channel, std::string_view name,
                              const ClusterEvent& event) noexcept {
  auto& engine = engine_of(shard);
  try {
    switch (channel.kind) {
      case Channel::Kind::chat:
        return on_chat_event(engine, channel, name, event);
      case Channel::Kind::push:
        return on_push_event(engine, channel, name, event);
      case Channel::Kind::inbox:
        return on_inbox_event(engine, event);
      case Channel::Kind::all: {
        if (event.kind != ClusterEvent::Kind::frame) return;
        const auto frame = read_frame(event.frame);
        if (frame && frame->header.kind == NodeMessageKind::question &&
            open_frame(*frame, Opener::Copy::receiver)) {
          questions_.on_question(shard, frame->header, value_);
        }
        return;
      }
      case Channel::Kind::reachable:
        if (event.kind == ClusterEvent::Kind::reachable) {
          apply_reachable(event.name, event.presence);
        }
        return;
    }
  } catch (const std::bad_alloc&) {
    // An event that is not shown would break what this node believes: it begins anew.
    shard.restart("out of memory");
  }
}

std::optional<NodeMessage> RedisBackplane::read_frame(std::string_view bytes) {
  const auto frame = read_node_message(bytes);
  if (frame) return *frame;
  count(stats_.frames_rejected);
  return std::nullopt;
}

/// Puts the body into value_.
bool RedisBackplane::open_frame(const NodeMessage& frame, Opener::Copy copy) {
  if (open_node_message(frame, opener_, copy, value_)) return true;
  count(stats_.frames_rejected);
  return false;
}

Message RedisBackplane::message_of(const NodeHeader& header) const noexcept {
  return {value_,    header.group, header.from,    header.to,
          header.id, header.at,    header.to_side, header.from_protocol};
}

void RedisBackplane::on_chat_event(Engine& engine, const Channel& channel, std::string_view name,
                                   const ClusterEvent& event) {
  switch (event.kind) {
    case ClusterEvent::Kind::frame:
      if (const auto frame = read_frame(event.frame)) on_message(engine, channel, name, *frame);
      return;
    case ClusterEvent::Kind::verdict:
      return on_echo(engine, channel, event);
    case ClusterEvent::Kind::presence:
      return apply_presence(event.name, event.side, event.presence);
    default:
      return count(stats_.frames_rejected);
  }
}

/// Gives a message of another node what this node's audit needs. Returns how many sockets of this
/// node the engine counted at the decision.
std::size_t RedisBackplane::take(Engine& engine, std::string_view name, Message& message) noexcept {
  const auto counted = engine.shard.subscriptions().counted(name);
  message.key = fanout_.next_key();
  message.taken = static_cast<std::uint32_t>(counted);
  return counted;
}

/// A message for the sockets of this side, or a signal for those of both.
void RedisBackplane::on_message(Engine& engine, const Channel& channel, std::string_view name,
                                const NodeMessage& frame) {
  const auto& header = frame.header;
  const bool is_signal = header.kind == NodeMessageKind::signal;
  const bool is_receivers = header.to_side == channel.side;
  if (header.group != channel.name ||
      !(is_signal || (header.kind == NodeMessageKind::message && is_receivers))) {
    return count(stats_.frames_rejected);
  }
  if (!open_frame(frame, is_receivers ? Opener::Copy::receiver : Opener::Copy::sender)) return;
  auto* const group = directory_.find_group(header.group);
  auto message = message_of(header);
  if (is_signal) {
    auto* const entry =
        engine.shard.is_own(header.origin) ? engine.in_flight.find(header.socket) : nullptr;
    auto* const sender = entry == nullptr ? nullptr : entry->sender;
    if (group != nullptr) fanout_.send_signal(*group, channel.side, message, sender);
    // Its own side's event is the one that must not be shown to the sender.
    if (entry != nullptr && !is_receivers) {
      entry->is_shown = true;
      settle(engine);
    }
    return;
  }
  const auto counted = take(engine, name, message);
  MessageTexts texts(chat_text, message);
  const auto accepted = group == nullptr ? 0 : fanout_.send_chat(*group, texts, nullptr);
  if (counted > accepted) fanout_.report_dropped(message, counted - accepted);
}

/// The decision on a message of this side: its sender and their other sockets learn of it.
void RedisBackplane::on_echo(Engine& engine, const Channel& channel, const ClusterEvent& event) {
  const auto frame = read_frame(event.frame);
  if (!frame) return;
  const auto& header = frame->header;
  if (header.group != channel.name || header.kind != NodeMessageKind::message ||
      header.to_side == channel.side) {
    return count(stats_.frames_rejected);
  }
  auto* const group = directory_.find_group(header.group);
  auto* const entry =
      engine.shard.is_own(header.origin) ? engine.in_flight.find(header.socket) : nullptr;
  if (entry != nullptr && !is_message_of(*entry, header)) return count(stats_.frames_rejected);
  const auto route = event.verdict == Verdict::chat   ? Route::chat
                     : event.verdict == Verdict::push ? Route::push
                                                      : Route::none;
  if (engine.shard.is_own(header.origin)) note_shown(engine, header.socket);
  if (entry != nullptr) {
    decide(*entry, event.verdict, event.reached);
    if (group != nullptr) {
      const auto& message = entry->message.view();
      MessageTexts texts(chat_text, message);
      fanout_.echo(*group, texts, entry->sender, route);
      if (entry->is_decided && !entry->is_shown && entry->sender != nullptr) {
        fanout_.acknowledge(*entry->sender, message, entry->decision);
      }
    }
    entry->is_shown = true;
    return settle(engine);
  }
  // A header alone is for its origin, which has given the message up meanwhile.
  if (group == nullptr || frame->sealed.empty() || !open_frame(*frame, Opener::Copy::sender)) {
    return;
  }
  const auto message = message_of(header);
  MessageTexts texts(chat_text, message);
  fanout_.echo(*group, texts, nullptr, route);
}

void RedisBackplane::on_push_event(Engine& engine, const Channel& channel, std::string_view name,
                                   const ClusterEvent& event) {
  if (event.kind != ClusterEvent::Kind::frame) return count(stats_.frames_rejected);
  const auto frame = read_frame(event.frame);
  if (!frame) return;
  const auto kind = frame->header.kind;
  if (frame->header.to != channel.name ||
      (kind != NodeMessageKind::message && kind != NodeMessageKind::notification)) {
    return count(stats_.frames_rejected);
  }
  if (!open_frame(*frame, Opener::Copy::receiver)) return;
  auto message = message_of(frame->header);
  const auto counted = take(engine, name, message);
  const auto accepted = fanout_.send_push(message);
  if (counted > accepted) fanout_.report_dropped(message, counted - accepted);
}

void RedisBackplane::on_inbox_event(Engine& engine, const ClusterEvent& event) {
  switch (event.kind) {
    case ClusterEvent::Kind::presence:
      return apply_presence(event.name, event.side, event.presence);
    case ClusterEvent::Kind::recount:
      return engine.recount.on_event(event);
    case ClusterEvent::Kind::verdict: {
      // Of a message that was not passed on. Notifications are answered by the reply.
      const auto frame = read_frame(event.frame);
      if (!frame || !engine.shard.is_own(frame->header.origin)) return;
      auto* const entry = engine.in_flight.find(frame->header.socket);
      if (entry == nullptr || entry->kind != InFlight::Kind::message) return;
      if (!is_message_of(*entry, frame->header)) return count(stats_.frames_rejected);
      decide(*entry, event.verdict, event.reached);
      return settle(engine);
    }
    case ClusterEvent::Kind::frame: {
      const auto frame = read_frame(event.frame);
      if (frame && frame->header.kind == NodeMessageKind::answer &&
          open_frame(*frame, Opener::Copy::receiver)) {
        questions_.on_answer(frame->header, value_);
      }
      return;
    }
    default:
      return count(stats_.frames_rejected);
  }
}

// ---- presence, and who is reachable

void RedisBackplane::watch(User& user) {
  if (user.watchers == 0) {
    auto& shard = engine_of(user.name()).shard;
    shard.subscriptions().add(shard.names().reachable(user.name()), kNobody);
  }
  ++user.watchers;
}

void RedisBackplane::unwatch(User& user) noexcept {
  if (--user.watchers != 0) return;
  auto& shard = engine_of(user.name()).shard;
  shard.subscriptions().remove(shard.names().reachable(user.name()));
}

void RedisBackplane::apply_reachable(std::string_view name, Presence presence) noexcept {
  auto* const user = directory_.find_user(name);
  if (user == nullptr) return;
  // Sockets of this node are known better here.
  if (!user->push.empty()) presence = Presence::present;
  if (presence == Presence::unknown) return;
  reachability_.set_has_push(*user, presence == Presence::present);
}

void RedisBackplane::apply_presence(std::string_view name, Side side, Presence presence) noexcept {
  auto* const group = directory_.find_group(name);
  if (group == nullptr) return;
  const auto index = static_cast<std::size_t>(side);
  // Sockets of this node are known better here.
  if (group->sockets[index] != 0) presence = Presence::present;
  const bool is_present = presence == Presence::present;
  bool is_change = false;
  if (presence != Presence::unknown) {
    group->is_known[index] = true;
    is_change = group->is_present[index] != is_present;
    // Tells those that wait, too.
    fanout_.set_presence(*group, side, is_present);
  }
  const auto waiting = presence_waiting_.find(group);
  if (waiting == presence_waiting_.end()) return;
  std::erase_if(waiting->second, [&](ChatMember* member) {
    if (opposite(member->side()) != side) return false;
    if (!is_change) fanout_.send_presence(*member);
    return true;
  });
  if (waiting->second.empty()) presence_waiting_.erase(waiting);
}

}  // namespace waystation
