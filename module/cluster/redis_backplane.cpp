#include "cluster/redis_backplane.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "cluster/node_listing.hpp"
#include "relay/outgoing.hpp"

namespace waystation {
namespace {

// How long the engine may take to decide a message.
constexpr std::int64_t kDecideMs = 2000;
// After so much more, its clock has passed the deadline as well.
constexpr std::int64_t kDeadlineSlackMs = 250;
constexpr std::int64_t kTickMs = 100;
// Memory for frames that is kept.
constexpr std::size_t kKeptBytes = std::size_t{64} << 10;

/// The reply to Scripts::decide(): the verdict and the sockets reached.
std::optional<std::pair<Verdict, std::size_t>> read_decision(const Reply& reply) noexcept {
  if (reply.elements.size() != 2) return std::nullopt;
  const auto verdict = reply.elements[0].integer;
  const auto reached = reply.elements[1].integer;
  if (reply.elements[0].type != Reply::Type::integer || verdict < 0 ||
      verdict > static_cast<std::int64_t>(Verdict::unavailable) || reached < 0) {
    return std::nullopt;
  }
  return std::pair(static_cast<Verdict>(verdict), static_cast<std::size_t>(reached));
}

}  // namespace

RedisBackplane::Engine::Engine(RedisBackplane& owner, std::size_t index,
                               std::atomic<bool>& is_ready)
    : backplane(owner),
      shard(owner.loop_, owner.resolver_, owner.options_, index, owner.stats_, is_ready, owner),
      recount(owner.loop_, shard, [&owner](const Channel& channel, Presence presence) {
        if (channel.kind == Channel::Kind::push) {
          owner.apply_reachable(channel.name, presence);
        } else {
          owner.apply_presence(channel.name, channel.side, presence);
        }
      }) {}

RedisBackplane::RedisBackplane(Loop& loop, Directory& directory, Fanout& fanout,
                               Reachability& reachability, NodeCalls& node, ClusterOptions options)
    : Timer(loop.timers()),
      loop_(loop),
      directory_(directory),
      fanout_(fanout),
      reachability_(reachability),
      options_(std::move(options)),
      state_(std::make_shared<ClusterState>(options_.engines.size())),
      opener_(options_.keys, options_.name),
      resolver_(loop),
      questions_(loop, directory, node, options_) {
  for (std::size_t i = 0; i < options_.engines.size(); ++i) {
    engines_.push_back(std::make_unique<Engine>(*this, i, state_->ready[i]));
  }
  stats_.engines.store(engines_.size(), std::memory_order_relaxed);
  for (const auto& engine : engines_) engine->shard.start();
}

RedisBackplane::~RedisBackplane() {
  is_ending_ = true;
}

void RedisBackplane::leave_cluster(const std::shared_ptr<void>& until_left) noexcept {
  for (const auto& engine : engines_) engine->shard.leave(until_left);
}

// ---- engines

RedisBackplane::Engine& RedisBackplane::engine_of(std::string_view group) noexcept {
  return *engines_[state_->engine_of(group)];
}

RedisBackplane::Engine& RedisBackplane::engine_of(const Shard& shard) noexcept {
  const auto found = std::ranges::find_if(
      engines_, [&shard](const auto& engine) { return &engine->shard == &shard; });
  return **found;
}

Shard* RedisBackplane::any_usable() noexcept {
  for (const auto& engine : engines_) {
    if (engine->shard.is_usable()) return &engine->shard;
  }
  return nullptr;
}

Questions::Audience RedisBackplane::audience() {
  Questions::Audience all{any_usable()};
  auto& nodes = all.nodes;
  for (const auto& engine : engines_) {
    const auto& known = engine->shard.nodes();
    nodes.insert(nodes.end(), known.begin(), known.end());
  }
  std::ranges::sort(nodes);
  // Not in ranges: clang 14.
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  return all;
}

// ---- joins

Shard::Token RedisBackplane::begin_join(const void* member, const Joining& joining) {
  const auto token = next_token_++;
  joining_.emplace(token, joining);
  try {
    tokens_.emplace(member, token);
  } catch (...) {
    joining_.erase(token);
    throw;
  }
  return token;
}

void RedisBackplane::forget_join(const void* member) noexcept {
  const auto found = tokens_.find(member);
  if (found == tokens_.end()) return;
  joining_.erase(found->second);
  tokens_.erase(found);
}

void RedisBackplane::join(ChatMember& member) {
  // Admission refuses anonymous sockets: here, their upgrade is refused after its deadline.
  if (member.side() == Side::anonymous) return;
  const auto& group = *member.group();
  auto& shard = engine_of(group.name()).shard;
  auto& other = group.user(opposite(member.side()));
  const bool watches = member.protocol() == Protocol::v1;
  const auto token = begin_join(&member, {.chat = &member});
  try {
    if (watches) watch(other);
    try {
      shard.subscriptions().add(shard.names().chat(group.name(), member.side()), token);
    } catch (...) {
      if (watches) unwatch(other);
      throw;
    }
  } catch (...) {
    forget_join(&member);
    throw;
  }
}

void RedisBackplane::join(PushMember& member) {
  const auto token = begin_join(&member, {.push = &member, .engines = engines_.size()});
  std::size_t added = 0;
  try {
    for (const auto& engine : engines_) {
      auto& shard = engine->shard;
      shard.subscriptions().add(shard.names().push(member.user()->name()), token);
      ++added;
    }
  } catch (...) {
    forget_join(&member);
    for (std::size_t i = 0; i < added; ++i) {
      auto& shard = engines_[i]->shard;
      shard.subscriptions().remove(shard.names().push(member.user()->name()));
    }
    throw;
  }
}

void RedisBackplane::on_counted(Shard::Token token) noexcept {
  const auto found = joining_.find(token);
  if (found == joining_.end() || --found->second.engines != 0) return;
  const auto joining = found->second;
  const bool must_leave = stats_.settings_differ.load(std::memory_order_relaxed) != 0;
  if (joining.push != nullptr) {
    forget_join(joining.push);
    fanout_.confirm(*joining.push);
    reachability_.set_has_push(*joining.push->user(), true);
    if (must_leave) joining.push->go_away();
    return;
  }
  auto& member = *joining.chat;
  forget_join(&member);
  fanout_.confirm(member);
  auto& group = *member.group();
  const auto side = static_cast<std::size_t>(member.side());
  const auto other = opposite(member.side());
  if (group.is_known[static_cast<std::size_t>(other)]) {
    fanout_.send_presence(member);
  } else if (member.protocol() == Protocol::v1) {
    try {
      presence_waiting_[&group].push_back(&member);
    } catch (const std::bad_alloc&) {
      fanout_.send_presence(member);
    }
  }
  group.is_known[side] = true;
  fanout_.set_presence(group, member.side(), true);
  if (must_leave) member.go_away();
}

void RedisBackplane::leave(ChatMember& member) noexcept {
  if (member.side() == Side::anonymous) return;
  forget_join(&member);
  const auto& group = *member.group();
  if (const auto waiting = presence_waiting_.find(&group); waiting != presence_waiting_.end()) {
    std::erase(waiting->second, &member);
    if (waiting->second.empty()) presence_waiting_.erase(waiting);
  }
  if (member.protocol() == Protocol::v1) unwatch(group.user(opposite(member.side())));
  auto& engine = engine_of(group.name());
  engine.in_flight.forget_sender(member);
  auto& counts = engine.shard.subscriptions();
  const auto channel = engine.shard.names().chat(group.name(), member.side());
  if (counts.wanted(channel) == 1 && engine.in_flight.has_group(group.name())) {
    try {
      engine.leaving.push_back({std::string(channel), engine.in_flight.next() - 1});
      return;
    } catch (const std::bad_alloc&) {
      // Others may not be shown its last messages.
    }
  }
  counts.remove(channel);
}

void RedisBackplane::leave(PushMember& member) noexcept {
  forget_join(&member);
  auto& user = *member.user();
  // Where it is watched, the engine tells.
  if (user.push.empty() && user.watchers == 0) reachability_.set_has_push(user, false);
  for (const auto& engine : engines_) {
    auto& shard = engine->shard;
    shard.subscriptions().remove(shard.names().push(member.user()->name()));
  }
}

// ---- messages of this node

void RedisBackplane::publish(ChatMember& sender, const Message& message) {
  auto& engine = engine_of(message.group);
  if (engine.lost_until_ms > loop_.now_ms() && engine.in_flight.has_group(message.group)) {
    // The engine may still decide an earlier one: this one must not overtake it.
    return refuse(&sender, message, ErrorCode::unavailable);
  }
  if (engine.shard.is_usable() &&
      hand_over(engine, InFlight::Kind::message, &sender, message, nullptr)) {
    return;
  }
  publish_here(engine, sender, message);
}

/// While the engine is not reached.
void RedisBackplane::publish_here(Engine& engine, ChatMember& sender, const Message& message) {
  const auto& group = *sender.group();
  // An earlier one may still be decided, or is decided and on its way: this one must not overtake
  // it.
  const auto& in_flight = engine.in_flight;
  if (!group.has_socket(message.to_side) || in_flight.has_group(message.group) ||
      in_flight.has_unshown(message.group) || engine.unshown) {
    return refuse(&sender, message, ErrorCode::unavailable);
  }
  MessageTexts texts(chat_text, message);
  const Decision decision{Route::chat, fanout_.send_chat(group, texts, &sender), true};
  if (decision.reached == 0) return refuse(&sender, message, ErrorCode::unavailable);
  count(stats_.partial);
  fanout_.echo(group, texts, &sender, decision.route);
  fanout_.acknowledge(sender, message, decision);
  fanout_.report(message, decision);
}

void RedisBackplane::publish_signal(ChatMember& sender, const Message& signal) {
  auto& engine = engine_of(signal.group);
  // A signal is worth nothing later.
  if (!engine.shard.is_usable()) return;
  hand_over(engine, InFlight::Kind::signal, &sender, signal, nullptr);
}

void RedisBackplane::notify(const Message& notification, Answer<SocketCount> answer) {
  auto& engine = engine_of(notification.to);
  if (engine.shard.is_usable() &&
      hand_over(engine, InFlight::Kind::notification, nullptr, notification, answer)) {
    return;
  }
  const auto reached = fanout_.send_push(notification);
  if (reached != 0) {
    fanout_.report(notification, {Route::push, reached, true});
  } else {
    count(stats_.unavailable);
  }
  answer({reached, true});
}

/// Sends it to the engine. False where that is not possible now, and nothing was sent.
bool RedisBackplane::hand_over(Engine& engine, InFlight::Kind kind, ChatMember* sender,
                               const Message& message, Answer<SocketCount> answer) {
  auto& shard = engine.shard;
  const auto server_time = shard.commands().server_time_ms();
  if (!server_time) return false;
  NodeHeader header;
  header.kind = kind == InFlight::Kind::message  ? NodeMessageKind::message
                : kind == InFlight::Kind::signal ? NodeMessageKind::signal
                                                 : NodeMessageKind::notification;
  header.to_side = kind == InFlight::Kind::signal ? opposite(sender->side()) : message.to_side;
  header.from_protocol = message.from_protocol;
  header.at = message.at;
  header.socket = engine.in_flight.next();
  header.group = message.group;
  header.from = message.from;
  header.to = message.to;
  header.id = message.id;
  frame_.clear();
  const auto header_bytes = write_node_message(frame_, header, message.value, shard.sealer());
  auto& entry =
      engine.in_flight.add(kind, sender, message, loop_.now_ms() + kDecideMs + kDeadlineSlackMs);
  entry.answer = std::move(answer);
  bool is_sent = false;
  try {
    auto on_answer = [to = &engine, number = header.socket](const Reply* reply) {
      to->backplane.on_reply(*to, number, reply);
    };
    const auto& names = shard.names();
    if (kind == InFlight::Kind::signal) {
      const auto own = names.chat(message.group, sender->side());
      const auto other = names.chat(message.group, opposite(sender->side()));
      const std::string_view channels[] = {own, other};
      is_sent = shard.scripts().publish(shard.commands(), channels, frame_, std::move(on_answer));
    } else {
      const bool is_chat = kind == InFlight::Kind::message;
      const auto chat = is_chat ? names.chat(message.group, message.to_side) : ChannelName();
      const auto push = names.push(message.to);
      const auto senders = names.chat(message.group, opposite(message.to_side));
      const auto echo = is_chat ? std::string_view(senders) : std::string_view(shard.inbox());
      is_sent = shard.scripts().decide(shard.commands(),
                                       {.chat_channel = chat,
                                        .push_channel = push,
                                        .echo_channel = echo,
                                        .inbox = shard.inbox(),
                                        .deadline_ms = *server_time + kDecideMs,
                                        .frame = frame_,
                                        .header_bytes = header_bytes},
                                       std::move(on_answer));
    }
  } catch (...) {
    engine.in_flight.drop_last();
    throw;
  }
  if (frame_.capacity() > kKeptBytes) frame_ = {};
  if (!is_sent) {
    engine.in_flight.drop_last();
    return false;
  }
  Timer::set_sooner(loop_.now_ms() + kTickMs);
  return true;
}

void RedisBackplane::on_reply(Engine& engine, std::uint32_t number, const Reply* reply) noexcept {
  auto* const entry = is_ending_ ? nullptr : engine.in_flight.find(number);
  if (entry == nullptr) return;
  if (reply == nullptr) {
    entry->is_lost = true;
    engine.lost_until_ms = std::max(engine.lost_until_ms, entry->deadline_ms);
    if (!engine.shard.receives()) expire(*entry);
    return;
  }
  entry->is_replied = true;
  if (entry->kind != InFlight::Kind::signal) {
    const auto decision = read_decision(*reply);
    if (decision) {
      decide(*entry, decision->first, decision->second);
    } else {
      // An error, of a script that has run in part or not at all.
      expire(*entry);
    }
  }
  // The event that shows it does not arrive any more.
  if (!engine.shard.receives()) expire(*entry);
  settle(engine);
}

/// What both ways tell about a message; the first one counts.
void RedisBackplane::decide(InFlight::Entry& entry, Verdict verdict, std::size_t reached) noexcept {
  if (entry.is_decided || entry.is_failed) return;
  const auto& message = entry.message.view();
  if (verdict == Verdict::late || verdict == Verdict::unavailable) {
    entry.is_failed = true;
    if (entry.answer) {
      count(stats_.unavailable);
      std::exchange(entry.answer, nullptr)({0, true});
    } else {
      refuse(entry.sender, message, ErrorCode::unavailable);
    }
    return;
  }
  entry.is_decided = true;
  entry.decision.route = verdict == Verdict::chat   ? Route::chat
                         : verdict == Verdict::push ? Route::push
                                                    : Route::none;
  entry.decision.reached = reached;
  fanout_.report(message, entry.decision);
  if (entry.answer) std::exchange(entry.answer, nullptr)({reached});
}

/// Nothing more is learned about it: the sender gets what is known.
void RedisBackplane::expire(InFlight::Entry& entry) noexcept {
  if (entry.kind == InFlight::Kind::signal) {
    entry.is_shown = true;
    return;
  }
  if (entry.is_failed || entry.is_shown) return;
  const auto& message = entry.message.view();
  if (entry.is_decided) {
    entry.is_shown = true;
    if (entry.sender != nullptr) fanout_.acknowledge(*entry.sender, message, entry.decision);
    return;
  }
  entry.is_failed = true;
  if (entry.answer) {
    count(stats_.undecided);
    std::exchange(entry.answer, nullptr)({0, true});
  } else {
    refuse(entry.sender, message, ErrorCode::undecided);
  }
}

void RedisBackplane::refuse(ChatMember* sender, const Message& message, ErrorCode code) noexcept {
  const bool is_undecided = code == ErrorCode::undecided;
  count(is_undecided ? stats_.undecided : stats_.unavailable);
  if (sender == nullptr) return;
  try {
    fanout_.send_error(
        *sender,
        {code,
         is_undecided ? "message: the connection to the other nodes was lost meanwhile; it "
                        "may have arrived or not"
                      : "message: the exchange between the nodes is not available, not passed "
                        "on; send it again",
         ShortText(message.id)});
  } catch (const std::bad_alloc&) {
    sender->go_away();
  }
}

void RedisBackplane::settle(Engine& engine) noexcept {
  auto& in_flight = engine.in_flight;
  in_flight.settle(loop_.now_ms(), [&](InFlight::Entry& entry) {
    const bool is_message = entry.kind == InFlight::Kind::message;
    if (is_message && entry.is_decided && !entry.is_shown) engine.unshown = entry.number;
    expire(entry);
  });
  while (!engine.leaving.empty() && in_flight.is_settled(engine.leaving.front().last)) {
    engine.shard.subscriptions().remove(engine.leaving.front().channel);
    engine.leaving.pop_front();
  }
}

/// The echo of a message of this node has arrived, and so has what was decided before it.
void RedisBackplane::note_shown(Engine& engine, std::uint32_t number) noexcept {
  const auto later = engine.unshown ? static_cast<std::int32_t>(number - *engine.unshown) : 0;
  if (later >= 0) engine.unshown.reset();
}

void RedisBackplane::on_timer() noexcept {
  bool is_waiting = false;
  for (const auto& engine : engines_) {
    settle(*engine);
    is_waiting = is_waiting || engine->in_flight.size() != 0;
  }
  if (is_waiting) Timer::set(loop_.now_ms() + kTickMs);
}

// ---- calls of the host application

void RedisBackplane::presence(std::string_view user, Answer<UserPresence> answer) {
  questions_.presence(audience(), user, std::move(answer));
}

void RedisBackplane::end_sessions(std::string_view user, Answer<SocketCount> answer) {
  questions_.end_sessions(audience(), user, std::move(answer));
}

void RedisBackplane::missed(std::string user, MissedQuestion question,
                            Answer<MissedAnswer> answer) {
  questions_.missed(audience(), user, std::move(question), std::move(answer));
}

void RedisBackplane::list_users(std::string_view after, std::size_t limit,
                                UserListing::Answer answer) {
  questions_.list_users(audience(), after, limit, std::move(answer));
}

void RedisBackplane::list_nodes(Answer<NodeList> answer) {
  auto listing = std::make_shared<NodeListing>(options_.node_name, std::move(answer));
  for (const auto& engine : engines_) {
    if (!engine->shard.is_usable() ||
        !engine->shard.list_nodes(
            [listing](const std::vector<TableEntry>* table) { listing->add(table); })) {
      listing->add(nullptr);
    }
  }
  // The last reply releases the listing, which then answers.
}

// ---- engines that come and go

void RedisBackplane::on_up(Shard& shard) noexcept {
  engine_of(shard).recount.start();
}

void RedisBackplane::on_nodes_changed(Shard& shard) noexcept {
  engine_of(shard).recount.start();
}

void RedisBackplane::on_down(Shard& shard) noexcept {
  auto& engine = engine_of(shard);
  engine.recount.stop();
  engine.unshown.reset();
  engine.in_flight.for_each([this](InFlight::Entry& entry) {
    if (entry.is_decided || entry.is_lost) expire(entry);
  });
}

void RedisBackplane::on_nodes_read() noexcept {
  std::size_t most = 0;
  for (const auto& engine : engines_) most = std::max(most, engine->shard.nodes().size());
  stats_.nodes.store(most, std::memory_order_relaxed);
}

void RedisBackplane::on_fenced(Shard& shard) noexcept {
  directory_.for_each_member(
      [&](const Group& group) { return &engine_of(group.name()).shard == &shard; },
      [](Member& member) { member.go_away(); });
}

void RedisBackplane::on_settings_differ() noexcept {
  for (const auto& engine : engines_) engine->shard.update_ready();
  if (stats_.settings_differ.load(std::memory_order_relaxed) == 0) return;
  directory_.for_each_member([](const Group&) { return true; },
                             [](Member& member) { member.go_away(); });
}

const Shard* RedisBackplane::other_shard_at(std::string_view run_id) const noexcept {
  const auto found = std::ranges::find_if(
      engines_, [run_id](const auto& engine) { return engine->shard.run_id() == run_id; });
  return found == engines_.end() ? nullptr : &(*found)->shard;
}

void RedisBackplane::on_log(ClusterLog level, std::string line) noexcept {
  if (options_.log) options_.log(level, line);
}

}  // namespace waystation
