// One engine: both connections of this node to it, and this node's place among the others.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/channels.hpp"
#include "cluster/cluster_options.hpp"
#include "cluster/cluster_stats.hpp"
#include "cluster/engine_error.hpp"
#include "cluster/engine_locator.hpp"
#include "cluster/events.hpp"
#include "cluster/incarnation.hpp"
#include "cluster/redis_connection.hpp"
#include "cluster/resolver.hpp"
#include "cluster/scripts.hpp"
#include "cluster/seal.hpp"
#include "cluster/subscriptions.hpp"
#include "reactor/loop.hpp"
#include "reactor/timer_queue.hpp"

namespace waystation {

/// Connects, enters the table of nodes, subscribes, and does it all again whenever a connection is
/// lost. Whatever depends on order arrives over the connection for subscriptions. The loop's thread
/// only, but for is_ready().
class Shard final : private Subscriptions::Listener, private Timer {
 public:
  using Token = Subscriptions::Token;

  /// None may destroy the shard.
  class Listener {
   public:
    virtual void on_counted(Token token) noexcept = 0;
    /// What another node or a script published, in the engine's order.
    virtual void on_event(Shard& shard, const ChannelNames::Channel& channel, std::string_view name,
                          const ClusterEvent& event) noexcept = 0;
    /// Messages can be published.
    virtual void on_up(Shard& shard) noexcept = 0;
    /// No event arrives for what was published so far, and nothing can be published.
    virtual void on_down(Shard& shard) noexcept = 0;
    /// Nodes have come, gone or returned: what this node believes about presence may be wrong.
    virtual void on_nodes_changed(Shard& shard) noexcept = 0;
    /// Shard::nodes() was read.
    virtual void on_nodes_read() noexcept = 0;
    /// The other nodes had given this one up: to them, its users were absent.
    virtual void on_fenced(Shard& shard) noexcept = 0;
    /// This node began, or ceased, not to fit the others at an engine:
    /// ClusterStats::settings_differ has changed. Sockets must not stay while it is not 0: see
    /// update_ready().
    virtual void on_settings_differ() noexcept = 0;
    /// Another shard that uses the server with that run id: Shard::run_id(). Null: none.
    virtual const Shard* other_shard_at(std::string_view run_id) const noexcept = 0;
    virtual void on_log(ClusterLog level, std::string line) noexcept = 0;

   protected:
    ~Listener() = default;
  };

  /// All must outlive the shard. `engine` is the index of its engine in the options. `is_ready` is
  /// what is_ready() returns. Throws std::bad_alloc.
  Shard(Loop& loop, Resolver& resolver, const ClusterOptions& options, std::size_t engine,
        ClusterStats& stats, std::atomic<bool>& is_ready, Listener& listener);
  ~Shard();

  void start() noexcept;
  /// Subscribes everything anew.
  void restart(std::string_view reason) noexcept { subscriptions_.reconnect(reason); }
  /// Leaves the table of nodes, so that the others need not wait for this one. That happens once
  /// the last socket is not subscribed any more. `until_left` is released when the server has
  /// removed this node, or cannot be told. May be called again.
  void leave(std::shared_ptr<void> until_left) noexcept;

  /// Publishes nothing while this node does not fit the others, at whatever engine: a group would
  /// be looked for at an engine where its members are not.
  void update_ready() noexcept;

  /// Whether messages can be published. Any thread.
  bool is_ready() const noexcept { return is_ready_.load(std::memory_order_relaxed); }
  /// Whether an engine answers in time: is_ready(), and no command waits too long.
  bool is_usable() const noexcept { return is_ready() && commands_.waiting_ms() < kSlowMs; }

  /// Whether events arrive for what is published. Also while nothing can be published.
  bool receives() const noexcept { return state_ == State::ready; }

  Subscriptions& subscriptions() noexcept { return counts_; }
  RedisConnection& commands() noexcept { return commands_; }
  const Scripts& scripts() const noexcept { return scripts_; }
  const ChannelNames& names() const noexcept { return names_; }
  /// While ready.
  Sealer& sealer() noexcept { return *sealer_; }
  const std::string& inbox() const noexcept { return inbox_; }
  bool is_own(const Incarnation& incarnation) const noexcept {
    return sealer_ && sealer_->incarnation() == incarnation;
  }
  /// A report about presence could not be sent, since the buffer is full. All nodes recount once
  /// there is room.
  void note_missed_report() noexcept { has_missed_report_ = true; }
  /// The names in the table, as last reported; none: not known. Also while not ready.
  const std::vector<std::string>& nodes() const noexcept { return nodes_; }
  /// Reads the table of nodes; `done` as Scripts::list_nodes(). False where it cannot be asked.
  bool list_nodes(Scripts::Done<const std::vector<TableEntry>*> done) {
    return scripts_.list_nodes(commands_, entry_, std::move(done));
  }
  const std::string& describe() const noexcept { return description_; }
  /// Of the server whose table of nodes it uses. Empty: none.
  std::string_view run_id() const noexcept {
    return state_ == State::connecting ? std::string_view() : entry_.run_id;
  }

 private:
  // A command that has waited for so long is a sign that the engine hangs.
  static constexpr std::int64_t kSlowMs = 1000;

  enum class State : std::uint8_t {
    connecting,   // a connection is not ready
    entering,     // the inbox is being subscribed, then the node enters the table
    subscribing,  // everything is being subscribed
    joining,      // and last `all`
    ready,
  };

  /// How far leave() has come.
  enum class Leaving : std::uint8_t {
    no,
    waiting,        // sockets are still subscribed
    unsubscribing,  // `all`
    left,           // the command was sent, or cannot be
  };

  /// One of the two connections.
  class Link final : public RedisConnection::Listener {
   public:
    explicit Link(Shard& shard, bool is_commands) : shard_(shard), is_commands_(is_commands) {}
    void on_ready() noexcept override;
    void on_lost(std::string_view reason, bool was_ready) noexcept override;
    void on_push(const RedisConnection::Push& push) noexcept override;
    void on_drained() noexcept override;
    void on_error(std::string_view error) noexcept override { shard_.on_script_error(error); }
    void on_round_trip(std::int64_t us) noexcept override;

   private:
    Shard& shard_;
    bool is_commands_;
  };

  // Subscriptions::Listener
  void on_counted(Token token) noexcept override { listener_.on_counted(token); }
  void on_presence_changed(std::string_view channel) noexcept override;
  void on_restored() noexcept override;

  void on_timer() noexcept override;

  template <typename F>
  void guard(F&& step) noexcept;
  void on_connected(bool is_commands);
  void on_script_error(std::string_view error) noexcept;
  void on_connection_lost(bool is_commands, std::string_view reason, bool was_ready) noexcept;
  void set_ready(bool is_ready) noexcept;
  void go_down() noexcept;
  void enter();
  void enter_again();
  void refuse_server(const Shard& other);
  void register_node();
  void on_registered(const Registration* registration);
  void on_name_taken(const Registration& registration);
  void set_name_taken(bool is_taken) noexcept;
  void on_settings_differ(const Registration& registration);
  void set_settings_differ(bool differ) noexcept;
  void on_confirmed(const RedisConnection::Push& push);
  void add_node(std::string_view name);
  void become_ready();
  void reap();
  void on_report(const ReapReport* report);
  void kill(const std::vector<std::string>& connections);
  bool is_leaving() const noexcept { return leaving_ >= Leaving::unsubscribing; }
  void continue_leaving();
  void finish_leaving() noexcept;
  void log(ClusterLog level, std::string_view text) noexcept;

  Loop& loop_;
  const ClusterOptions& options_;
  const std::string description_;
  const std::string settings_;
  const ChannelNames names_;
  const Scripts scripts_;
  const std::string all_;
  ClusterStats& stats_;
  std::atomic<bool>& is_ready_;
  Listener& listener_;
  std::unique_ptr<EngineLocator> commands_locator_;
  std::unique_ptr<EngineLocator> subscriptions_locator_;
  Link commands_link_{*this, true};
  Link subscriptions_link_{*this, false};
  RedisConnection commands_;
  RedisConnection subscriptions_;
  Subscriptions counts_{*this};

  State state_ = State::connecting;
  bool is_loaded_ = false;  // the scripts, on the present connection
  bool is_stale_ = false;   // the subscriptions belong to an earlier connection for commands
  bool is_settled_ = false;
  Leaving leaving_ = Leaving::no;
  std::vector<std::shared_ptr<void>> until_left_;
  // How long it says that it is alive, while its subscriptions are lost.
  std::int64_t returns_until_ms_ = 0;
  bool was_ready_ = false;                      // ever
  bool has_missed_report_ = false;              // about presence
  bool is_name_taken_ = false;                  // by another node that is alive
  std::optional<std::int64_t> other_heard_ms_;  // of the node that has the name: see Registration
  std::string difference_;                      // to the other nodes, as logged
  std::uint64_t epoch_ = 0;                     // counts the attempts to become ready
  std::optional<Sealer> sealer_;
  NodeEntry entry_;
  std::string inbox_;
  std::vector<std::string> nodes_;
  std::array<ConnectionProblemLog, 2> problem_logs_;  // of each connection
  EngineErrorLog error_log_;
  std::string advised_run_;  // the server's run whose settings were checked
  std::string refused_run_;  // the server's run that another shard uses
};

}  // namespace waystation
