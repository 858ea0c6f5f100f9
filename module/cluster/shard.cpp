#include "cluster/shard.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "cluster/engine_settings.hpp"
#include "cluster/node_settings.hpp"
#include "cluster/sentinel.hpp"

namespace waystation {
namespace {

constexpr std::int64_t kReapMs = 500;
// Otherwise a table would be taken for settled, of which a node is about to return.
static_assert(NodeTimes{}.reconnect_ms >
              RedisConnectionOptions::kConnectTimeoutMs + RedisConnectionOptions::kMaxBackoffMs);
static_assert(NodeTimes{}.silence_ms > kReapMs);

RedisConnectionOptions connection_options(const ClusterOptions& options,
                                          const EngineAddress& address, bool is_commands) {
  RedisConnectionOptions made;
  made.kind = is_commands ? RedisConnectionOptions::Kind::commands
                          : RedisConnectionOptions::Kind::subscriptions;
  made.user = address.user;
  made.password = address.password;
  made.database = address.database;
  made.client_name =
      "waystation:" + options.name + ":" + options.node_name + (is_commands ? ":C" : ":S");
  return made;
}

}  // namespace

Shard::Shard(Loop& loop, Resolver& resolver, const ClusterOptions& options, std::size_t engine,
             ClusterStats& stats, std::atomic<bool>& is_ready, Listener& listener)
    : Timer(loop.timers()),
      loop_(loop),
      options_(options),
      description_(options.engines[engine].describe()),
      settings_(describe_settings(*options.keys, options.name, engine + 1, options.engines.size())),
      names_(options.name),
      scripts_(names_, options.times),
      all_(names_.all()),
      stats_(stats),
      is_ready_(is_ready),
      listener_(listener),
      commands_locator_(make_locator(loop, resolver, options.engines[engine])),
      subscriptions_locator_(make_locator(loop, resolver, options.engines[engine])),
      commands_(loop, *commands_locator_,
                connection_options(options, options.engines[engine], true), commands_link_),
      subscriptions_(loop, *subscriptions_locator_,
                     connection_options(options, options.engines[engine], false),
                     subscriptions_link_) {}

Shard::~Shard() {
  ++epoch_;  // replies that are still to come mean nothing
}

void Shard::start() noexcept {
  commands_.start();
  subscriptions_.start();
}

/// Runs `step`. Without memory for it, both connections start again: that is the one state that
/// needs no other.
template <typename F>
void Shard::guard(F&& step) noexcept {
  try {
    step();
  } catch (const std::exception&) {
    subscriptions_.reconnect("out of memory");
  }
}

// ---- connections

void Shard::Link::on_ready() noexcept {
  shard_.guard([this] { shard_.on_connected(is_commands_); });
}

void Shard::Link::on_lost(std::string_view reason, bool was_ready) noexcept {
  shard_.on_connection_lost(is_commands_, reason, was_ready);
}

void Shard::Link::on_drained() noexcept {
  if (!is_commands_) shard_.counts_.on_drained();
}

void Shard::Link::on_round_trip(std::int64_t us) noexcept {
  if (is_commands_) count_round_trip(shard_.stats_, us);
}

void Shard::on_connected(bool is_commands) {
  if (!is_commands) return enter();
  is_loaded_ = false;
  scripts_.load(commands_, [this](const std::string& problem) {
    if (!problem.empty()) return commands_.reconnect(problem);
    is_loaded_ = true;
    guard([this] { is_stale_ ? enter_again() : enter(); });
  });
}

/// The table of nodes has the numbers of present connections only. Without its subscriptions, a
/// node that has been silent is removed: so it first says that it is alive.
void Shard::enter_again() {
  // What was decided and published before is still on its way.
  const auto enter_now = [this] {
    subscriptions_.unsubscribe_and_reconnect("the connection for commands was lost");
  };
  const bool is_sent =
      commands_.run_id() == entry_.run_id &&
      scripts_.reap(commands_, entry_, [this, enter_now, epoch = epoch_](const ReapReport*) {
        // If the commands are lost again, the next connection does it.
        if (epoch == epoch_ && commands_.is_ready()) enter_now();
      });
  if (!is_sent) subscriptions_.reconnect("the connection for commands was lost");
}

void Shard::on_connection_lost(bool is_commands, std::string_view reason, bool was_ready) noexcept {
  if (is_commands) {
    is_loaded_ = false;
    // Verdicts may still arrive over the other connection.
    is_stale_ = state_ != State::connecting;
  }
  try {
    const auto problem =
        (was_ready ? "connection lost: " : "not connected: ") + std::string(reason);
    if (problem_logs_[is_commands ? 1 : 0].take(problem, loop_.now_ms())) {
      log(ClusterLog::warning, problem);
    }
  } catch (const std::bad_alloc&) {
    // The next attempt fails with a line.
  }
  set_ready(false);
  if (!is_commands) {
    is_stale_ = false;  // the next one is new
    go_down();
  }
}

void Shard::set_ready(bool is_ready) noexcept {
  if (is_ready_.exchange(is_ready, std::memory_order_relaxed) == is_ready) return;
  count(stats_.engines_ready, is_ready ? 1 : std::uint64_t(0) - 1);
}

/// The subscriptions are lost.
void Shard::go_down() noexcept {
  ++epoch_;
  const auto before = std::exchange(state_, State::connecting);
  if (leaving_ != Leaving::no) finish_leaving();
  is_settled_ = false;
  if (before == State::ready) returns_until_ms_ = loop_.now_ms() + options_.times.return_ms;
  counts_.disconnect();
  if (before == State::ready) listener_.on_down(*this);
}

// ---- becoming ready

void Shard::enter() {
  if (state_ != State::connecting || is_leaving()) return;
  if (!commands_.is_ready() || !is_loaded_ || !subscriptions_.is_ready()) return;
  if (commands_.run_id() != subscriptions_.run_id()) {
    // One of them found an earlier primary.
    commands_.reconnect("the connections lead to different servers");
    return subscriptions_.reconnect("the connections lead to different servers");
  }
  if (const auto* const other = listener_.other_shard_at(commands_.run_id())) {
    return refuse_server(*other);
  }
  const auto incarnation = sealer_ ? sealer_->incarnation().next() : Incarnation::random();
  sealer_.emplace(*options_.keys, options_.name, incarnation);
  inbox_ = names_.inbox(incarnation);
  entry_ = {options_.node_name, incarnation, subscriptions_.client_id(), commands_.client_id(),
            commands_.run_id(), settings_,   entry_.settings_differ};
  const std::string_view channels[] = {inbox_};
  if (!subscriptions_.subscribe(channels)) {
    return subscriptions_.reconnect("the buffer is full");
  }
  state_ = State::entering;
}

/// Databases of a server have tables of their own, but share all channels: subscribers of both
/// shards would be counted together.
void Shard::refuse_server(const Shard& other) {
  if (std::exchange(refused_run_, commands_.run_id()) != commands_.run_id()) {
    log(ClusterLog::error, same_server_clause(other.description_));
  }
  commands_.reconnect("another entry of cluster uses this server");
  subscriptions_.reconnect("another entry of cluster uses this server");
}

void Shard::register_node() {
  const bool is_sent =
      scripts_.register_node(commands_, entry_, was_ready_, nodes_,
                             [this, epoch = epoch_](const Registration* registration) {
                               if (epoch == epoch_) guard([&] { on_registered(registration); });
                             });
  if (!is_sent) subscriptions_.reconnect("the connection for commands was lost");
}

void Shard::on_registered(const Registration* registration) {
  if (is_leaving()) return;
  if (registration == nullptr) {
    if (!commands_.is_ready()) return;  // see enter_again()
    return subscriptions_.reconnect("this node cannot enter the table of nodes");
  }
  if (registration->status == Registration::Status::name_taken) return on_name_taken(*registration);
  set_name_taken(false);
  if (registration->status == Registration::Status::settings_differ) {
    return on_settings_differ(*registration);
  }
  if (registration->status == Registration::Status::others_awaited) {
    return subscriptions_.reconnect("nodes that were connected before may be about to return");
  }
  set_settings_differ(false);
  kill(registration->old_connections);
  if (registration->status == Registration::Status::was_removed) {
    log(ClusterLog::warning,
        "this node was silent for so long that the others gave it up; its sockets are closed");
    listener_.on_fenced(*this);
  }
  state_ = State::subscribing;
  Timer::set(loop_.now_ms() + kReapMs);
  if (was_ready_) count(stats_.resubscriptions);
  counts_.connect(subscriptions_);
}

/// Tries again, later and later. Another node that is alive calls reap() meanwhile. The remains of
/// this node, of before its host was lost, do not.
void Shard::on_name_taken(const Registration& registration) {
  if (was_ready_) listener_.on_fenced(*this);
  if (other_heard_ms_ && registration.heard_ms > *other_heard_ms_ && !is_name_taken_) {
    set_name_taken(true);
    log(ClusterLog::error, "node_name = \"" + options_.node_name +
                               "\": another node of that name is connected; give each node a "
                               "different name");
  }
  other_heard_ms_ = registration.heard_ms;
  subscriptions_.reconnect("the node's name is taken");
}

void Shard::set_name_taken(bool is_taken) noexcept {
  other_heard_ms_.reset();
  if (std::exchange(is_name_taken_, is_taken) == is_taken) return;
  count(stats_.name_taken, is_taken ? 1 : std::uint64_t(0) - 1);
}

/// Tries again, later and later: the other nodes may be restarted with other settings.
void Shard::on_settings_differ(const Registration& registration) {
  if (!registration.difference.empty()) {
    auto difference = describe_difference(settings_, registration.node, registration.difference);
    if (difference_ != difference) {
      difference_ = std::move(difference);
      log(ClusterLog::error, difference_);
    }
  }
  set_settings_differ(true);
  subscriptions_.reconnect("this node does not fit the others");
}

void Shard::set_settings_differ(bool differ) noexcept {
  if (!differ) difference_.clear();
  if (std::exchange(entry_.settings_differ, differ) == differ) return;
  count(stats_.settings_differ, differ ? 1 : std::uint64_t(0) - 1);
  listener_.on_settings_differ();
}

void Shard::update_ready() noexcept {
  set_ready(state_ == State::ready && !is_stale_ && !is_leaving() &&
            stats_.settings_differ.load(std::memory_order_relaxed) == 0);
}

void Shard::on_restored() noexcept {
  if (is_leaving()) return;
  guard([this] {
    state_ = State::joining;
    const std::string_view channels[] = {all_};
    if (!subscriptions_.subscribe(channels)) subscriptions_.reconnect("the buffer is full");
  });
}

void Shard::become_ready() {
  if (!scripts_.announce_ready(commands_, entry_, {})) {
    return subscriptions_.reconnect("the connection for commands was lost");
  }
  state_ = State::ready;
  was_ready_ = true;
  has_missed_report_ = false;  // all nodes recount now
  for (auto& problems : problem_logs_) problems.reset();
  update_ready();
  log(ClusterLog::info, "ready at " + commands_.server_name() + ", version " + commands_.version());
  if (std::exchange(advised_run_, commands_.run_id()) != commands_.run_id()) {
    check_engine_settings(commands_,
                          [this](const std::string& line) { log(ClusterLog::info, line); });
  }
  listener_.on_up(*this);
  reap();
}

// ---- what arrives

void Shard::Link::on_push(const RedisConnection::Push& push) noexcept {
  auto& shard = shard_;
  if (shard.state_ == State::connecting) return;  // nothing was asked for
  if (push.type != RedisConnection::Push::Type::message) {
    return shard.guard([&] { shard.on_confirmed(push); });
  }
  const auto channel = shard.names_.parse(push.channel);
  const auto event = read_event(push.payload);
  if (!channel || !event) return count(shard.stats_.frames_rejected);
  shard.listener_.on_event(shard, *channel, push.channel, *event);
  if (channel->kind == ChannelNames::Channel::Kind::all &&
      (event->kind == ClusterEvent::Kind::ready || event->kind == ClusterEvent::Kind::gone)) {
    shard.is_settled_ = event->is_settled;
    if (event->kind == ClusterEvent::Kind::ready) {
      shard.guard([&] { shard.add_node(event->name); });
    } else {
      std::erase(shard.nodes_, event->name);
    }
    if (shard.state_ == State::ready) shard.listener_.on_nodes_changed(shard);
  }
}

/// Does not wait for the next report: the server may lose the table before.
void Shard::add_node(std::string_view name) {
  if (std::ranges::find(nodes_, name) == nodes_.end()) nodes_.emplace_back(name);
}

void Shard::on_confirmed(const RedisConnection::Push& push) {
  const bool is_subscribed = push.type == RedisConnection::Push::Type::subscribed;
  if (push.channel == inbox_) {
    const bool is_entering = state_ == State::entering && !is_stale_ && !is_leaving();
    if (is_subscribed && is_entering) register_node();
  } else if (push.channel == all_) {
    if (is_subscribed && state_ == State::joining && !is_stale_ && !is_leaving()) become_ready();
    if (!is_subscribed && is_leaving()) finish_leaving();
  } else {
    counts_.on_confirmation();
    if (leaving_ == Leaving::waiting) continue_leaving();
  }
}

/// Tells the other side of the group, or those that watch the user. A node that begins to watch
/// asks in the same way.
void Shard::on_presence_changed(std::string_view name) noexcept {
  try {
    using Kind = ChannelNames::Channel::Kind;
    const auto channel = names_.parse(name);
    if (!channel) return;
    bool is_sent = true;
    if (channel->kind == Kind::chat) {
      is_sent = scripts_.say(commands_, channel->name, channel->side, inbox_, {});
    } else if (channel->kind == Kind::push || counts_.counted(name) != 0) {
      is_sent = scripts_.say_reachable(commands_, channel->name, {});
    }
    if (!is_sent) note_missed_report();
  } catch (const std::bad_alloc&) {
    // The subscriptions call this, so they begin anew only when the commands do.
    commands_.reconnect("out of memory");
  }
}

void Shard::on_script_error(std::string_view error) noexcept {
  if (!error_log_.take(error, loop_.now_ms())) return;
  try {
    log(ClusterLog::error, "a script has failed: " + describe_engine_error(error));
  } catch (const std::bad_alloc&) {
    // The line is lost.
  }
}

// ---- the table of nodes

void Shard::on_timer() noexcept {
  // While the subscriptions are lost, the others await this node, but not for ever.
  if (state_ < State::subscribing && loop_.now_ms() > returns_until_ms_) return;
  guard([this] { reap(); });
}

void Shard::reap() {
  Timer::set(loop_.now_ms() + kReapMs);
  scripts_.reap(commands_, entry_, [this, epoch = epoch_](const ReapReport* report) {
    if (epoch == epoch_) guard([&] { on_report(report); });
  });
  // Here and not as soon as there is room: it makes all nodes recount.
  if (has_missed_report_ && state_ == State::ready) {
    has_missed_report_ = !scripts_.announce_ready(commands_, entry_, {});
  }
}

void Shard::on_report(const ReapReport* report) {
  if (report == nullptr || is_leaving() || state_ < State::subscribing) return;
  if (!report->is_member) {
    return subscriptions_.reconnect("this node is not in the table of nodes any more");
  }
  nodes_ = report->nodes;
  listener_.on_nodes_read();
  for (const auto& name : report->paused) {
    log(ClusterLog::warning, "node \"" + name + "\" does not answer; it is disconnected");
  }
  kill(report->to_kill);
  const bool was_settled = std::exchange(is_settled_, report->is_settled);
  if (!was_settled && is_settled_ && state_ == State::ready) listener_.on_nodes_changed(*this);
}

void Shard::kill(const std::vector<std::string>& connections) {
  for (const auto& id : connections) commands_.send({"CLIENT", "KILL", "ID", id}, {});
}

void Shard::leave(std::shared_ptr<void> until_left) noexcept {
  guard([&] {
    until_left_.push_back(std::move(until_left));
    continue_leaving();
  });
}

void Shard::continue_leaving() {
  if (leaving_ == Leaving::left) return finish_leaving();
  if (leaving_ == Leaving::unsubscribing) return;
  leaving_ = Leaving::waiting;
  // What is still subscribed would count as present.
  if (state_ != State::connecting && counts_.size() != 0) return;
  leaving_ = Leaving::unsubscribing;
  set_ready(false);
  Timer::set(TimerQueue::kNever);
  // One that has left the table must not count for one that is about to return: see NodeTimes.
  const std::string_view channels[] = {all_};
  const bool is_joined = state_ >= State::joining;
  if (!is_joined || !subscriptions_.unsubscribe(channels)) finish_leaving();
}

/// A further call waits for the reply to a further command, which comes after the first one.
void Shard::finish_leaving() noexcept {
  leaving_ = Leaving::left;
  Timer::set(TimerQueue::kNever);
  guard([&] {
    const auto released = std::exchange(until_left_, {});
    if (!commands_.is_ready() || state_ == State::connecting) return;
    scripts_.leave(commands_, entry_, [released](const Reply*) {});
  });
}

void Shard::log(ClusterLog level, std::string_view text) noexcept {
  try {
    listener_.on_log(level, "cluster: " + description_ + ": " + std::string(text));
  } catch (const std::bad_alloc&) {
    // The line is lost.
  }
}

}  // namespace waystation
