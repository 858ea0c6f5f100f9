// The backplane of a relay on several nodes, over Redis or Valkey.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cluster/cluster_options.hpp"
#include "cluster/cluster_stats.hpp"
#include "cluster/in_flight.hpp"
#include "cluster/questions.hpp"
#include "cluster/recount.hpp"
#include "cluster/shard.hpp"
#include "relay/backplane.hpp"
#include "relay/fanout.hpp"
#include "relay/reachability.hpp"

namespace waystation {

/// The engine decides each message in one step, by who is subscribed, and every node shows its
/// sockets what the engine publishes, in that order. A group belongs to one engine, by the hash of
/// its name; push sockets are subscribed on all engines.
///
/// While the engine is not reached, a receiver with a chat socket on this node still gets messages;
/// for all others the sender gets the error `unavailable`. A message that was under way gets
/// `undecided`, and is never sent again from here.
///
/// The loop's thread only, but for state().
class RedisBackplane final : public ClusterBackplane, private Shard::Listener, private Timer {
 public:
  /// All must outlive it. `node` answers what other nodes ask. Begins to connect. Throws
  /// std::bad_alloc and std::system_error.
  RedisBackplane(Loop& loop, Directory& directory, Fanout& fanout, Reachability& reachability,
                 NodeCalls& node, ClusterOptions options);
  ~RedisBackplane() override;

  /// Leaves the cluster, before the node ends its sockets for good. Each engine releases its copy
  /// of `until_left`: see Shard::leave().
  void leave_cluster(const std::shared_ptr<void>& until_left) noexcept;

  /// Any thread may read it, also after the backplane's end.
  std::shared_ptr<const ClusterState> state() const noexcept { return state_; }

  // Backplane
  void join(ChatMember& member) override;
  void join(PushMember& member) override;
  void leave(ChatMember& member) noexcept override;
  void leave(PushMember& member) noexcept override;
  void publish(ChatMember& sender, const Message& message) override;
  void publish_signal(ChatMember& sender, const Message& signal) override;
  void notify(const Message& notification, Answer<SocketCount> answer) override;
  void presence(std::string_view user, Answer<UserPresence> answer) override;
  void end_sessions(std::string_view user, Answer<SocketCount> answer) override;

  // ClusterBackplane
  void missed(std::string user, MissedQuestion question, Answer<MissedAnswer> answer) override;
  void list_users(std::string_view after, std::size_t limit, UserListing::Answer answer) override;
  void list_nodes(Answer<NodeList> answer) override;

 private:
  using Channel = ChannelNames::Channel;
  // For subscriptions that no socket waits for.
  static constexpr Shard::Token kNobody = 0;

  /// A channel that the last socket of a side leaves once its messages are decided: the engine
  /// shows their echo to others as long as this node is subscribed.
  struct Leaving {
    std::string channel;
    std::uint32_t last;  // of the messages
  };

  struct Engine {
    Engine(RedisBackplane& owner, std::size_t index, std::atomic<bool>& is_ready);

    RedisBackplane& backplane;
    InFlight in_flight;
    std::int64_t lost_until_ms = 0;  // messages that have no reply may be decided until then
    // The last message that was given up although it is decided, and may still be shown.
    std::optional<std::uint32_t> unshown;
    std::deque<Leaving> leaving;
    Shard shard;
    Recount recount;
  };

  /// A socket that waits for its confirmation.
  struct Joining {
    ChatMember* chat = nullptr;
    PushMember* push = nullptr;
    std::size_t engines = 1;  // that have to confirm it
  };

  // Shard::Listener
  void on_counted(Shard::Token token) noexcept override;
  void on_event(Shard& shard, const Channel& channel, std::string_view name,
                const ClusterEvent& event) noexcept override;
  void on_up(Shard& shard) noexcept override;
  void on_down(Shard& shard) noexcept override;
  void on_nodes_changed(Shard& shard) noexcept override;
  void on_nodes_read() noexcept override;
  void on_fenced(Shard& shard) noexcept override;
  void on_settings_differ() noexcept override;
  const Shard* other_shard_at(std::string_view run_id) const noexcept override;
  void on_log(ClusterLog level, std::string line) noexcept override;

  void on_timer() noexcept override;

  Engine& engine_of(std::string_view group) noexcept;
  Engine& engine_of(const Shard& shard) noexcept;
  Shard* any_usable() noexcept;
  Questions::Audience audience();

  // Joins
  Shard::Token begin_join(const void* member, const Joining& joining);
  void forget_join(const void* member) noexcept;

  // Messages of this node
  void publish_here(Engine& engine, ChatMember& sender, const Message& message);
  bool hand_over(Engine& engine, InFlight::Kind kind, ChatMember* sender, const Message& message,
                 Answer<SocketCount> answer);
  void on_reply(Engine& engine, std::uint32_t number, const Reply* reply) noexcept;
  void decide(InFlight::Entry& entry, Verdict verdict, std::size_t reached) noexcept;
  void settle(Engine& engine) noexcept;
  void note_shown(Engine& engine, std::uint32_t number) noexcept;
  void expire(InFlight::Entry& entry) noexcept;
  void refuse(ChatMember* sender, const Message& message, ErrorCode code) noexcept;

  // Events
  void on_chat_event(Engine& engine, const Channel& channel, std::string_view name,
                     const ClusterEvent& event);
  void on_message(Engine& engine, const Channel& channel, std::string_view name,
                  const NodeMessage& frame);
  void on_echo(Engine& engine, const Channel& channel, const ClusterEvent& event);
  void on_push_event(Engine& engine, const Channel& channel, std::string_view name,
                     const ClusterEvent& event);
  void on_inbox_event(Engine& engine, const ClusterEvent& event);
  std::size_t take(Engine& engine, std::string_view name, Message& message) noexcept;
  std::optional<NodeMessage> read_frame(std::string_view frame);
  bool open_frame(const NodeMessage& frame, Opener::Copy copy);
  /// The message of a frame; with the value that was opened last.
  Message message_of(const NodeHeader& header) const noexcept;

  // Presence, and who is reachable
  void watch(User& user);
  void unwatch(User& user) noexcept;
  void apply_reachable(std::string_view user, Presence presence) noexcept;
  void apply_presence(std::string_view group, Side side, Presence presence) noexcept;

  Loop& loop_;
  Directory& directory_;
  Fanout& fanout_;
  Reachability& reachability_;
  const ClusterOptions options_;
  const std::shared_ptr<ClusterState> state_;
  ClusterStats& stats_ = state_->stats;
  Opener opener_;
  Resolver resolver_;
  Questions questions_;
  std::vector<std::unique_ptr<Engine>> engines_;
  bool is_ending_ = false;

  std::unordered_map<Shard::Token, Joining> joining_;
  std::unordered_map<const void*, Shard::Token> tokens_;  // by member, of those in joining_
  Shard::Token next_token_ = 1;
  // v1 sockets that joined before this node knew whether the other user is present, by group.
  std::unordered_map<const Group*, std::vector<ChatMember*>> presence_waiting_;
  std::string frame_;  // kept, so that a message allocates less
  std::string value_;
};

}  // namespace waystation
