// The scripts that the engine runs: each is one step in the engine's order.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "cluster/channels.hpp"
#include "cluster/incarnation.hpp"
#include "cluster/redis_connection.hpp"
#include "relay/message.hpp"

namespace waystation {

/// The table of nodes, as the scripts keep it in the engine.
///
/// A node enters by register_node(). Before that it subscribes to its inbox only. When all its
/// other subscriptions are confirmed, it subscribes to `all`. So the nodes are **settled** when the
/// channel `all` has as many subscribers as the table has nodes. While it has fewer, a user without
/// a subscriber may still be on a node that is missing there. The scripts then answer `unavailable`
/// and `unknown` in place of push, none and absent.
///
/// A node leaves by leave(). Otherwise reap() of another node removes it: when its inbox has no
/// subscriber and it has not called reap() for `silence_ms`. A server may have started, been
/// promoted, or answered nobody for longer than that. Nodes that are in the table then have
/// `return_ms` to call reap() again. The same holds when its clock was set back.
///
/// A server that has started or was promoted may have lost a part of its table. So the table is not
/// settled for `reconnect_ms`. A node must return within that time: see the deadlines in
/// RedisConnectionOptions. A server that was started earlier is settled at once.
///
/// A node is paused, or its host lost, when its inbox is subscribed but it has not called reap()
/// for `pause_ms`. reap() returns its connections, for CLIENT KILL.
struct NodeTimes {
  std::int64_t silence_ms = 1000;
  std::int64_t return_ms = 10'000;
  std::int64_t pause_ms = 5000;
  std::int64_t reconnect_ms = 3000;
};

/// A node, as it enters the table.
struct NodeEntry {
  std::string name;              // 1 to 64 of the characters 0-9, a-z, A-Z, '.', '-' and '_'
  Incarnation incarnation;       // the next() one of the node's last
  std::string subscriptions_id;  // RedisConnection::client_id() of both connections
  std::string commands_id;
  std::string run_id;         // of the server; both connections must have the same
  std::string settings = {};  // describe_settings(); empty: they are not compared
  /// The last register_node() has returned settings_differ.
  bool settings_differ = false;
};

/// The answer of ask().
struct AskReport {
  std::size_t nodes = 0;    // that got the question
  bool is_settled = false;  // no other node is about to return: see NodeTimes
};

/// The answer of register_node().
struct Registration {
  enum class Status : std::uint8_t {
    entered,
    was_removed,  // it is entered; but other nodes had removed this node: to them, its users were
                  // absent
    name_taken,   // another node of that name is subscribed, and not paused: nothing was changed
    settings_differ,  // a node in the table is alive, or has time to return, and has settings that
                      // do not fit: nothing was changed
    others_awaited,   // this node has not been ready before, and the server may have lost others,
                      // which enter first: nothing was changed
  };
  Status status = Status::entered;
  /// name_taken: when the other node was last heard of, by the server's clock in ms. If it is later
  /// in the next answer, the other node is alive.
  std::int64_t heard_ms = 0;
  /// settings_differ: the name of a node that does not fit, and what differs: for
  /// describe_difference(). Both empty: this node did not fit before, and the server may have lost
  /// the nodes that it did not fit.
  std::string node = {};
  std::string difference = {};
  /// Connections of the entry that was replaced, for CLIENT KILL ID. Empty: none.
  std::vector<std::string> old_connections = {};
};

/// The answer of reap().
struct ReapReport {
  bool is_member = false;   // false: this node is not in the table; it was removed as silent, or
                            // the server has lost the table. It has to register again
  bool is_settled = false;  // see NodeTimes
  std::vector<std::string> nodes;    // the names in the table, this one too
  std::vector<std::string> paused;   // names of nodes that are paused
  std::vector<std::string> to_kill;  // their connections, for CLIENT KILL ID
};

/// A node in the table.
struct TableEntry {
  std::string name;
  std::string incarnation;     // Incarnation::hex(); empty: it has not entered this server yet
  bool is_ready = false;       // announce_ready() was called for it, and its inbox is subscribed
  std::int64_t silent_ms = 0;  // since its last reap()
  /// What keeps it from working with the node that asks: for describe_difference(). Empty: nothing.
  std::string difference = {};
};

/// Sends the scripts of one cluster over a connection for commands. One object serves all
/// connections of a shard; the loop's thread. Functions return false, and throw, as
/// RedisConnection::send(). What a script publishes arrives as ClusterEvent; its reply on the
/// connection is not in order with that.
class Scripts {
 public:
  template <typename T>
  using Done = std::function<void(T)>;  // null reply: the connection was lost before
  using Handler = RedisConnection::ReplyHandler;

  explicit Scripts(const ChannelNames& names, const NodeTimes& times = {});

  /// Loads all scripts; to be awaited before any other call on a new connection. An empty text:
  /// loaded; otherwise the problem as a clause. Not called where the connection is lost before.
  bool load(RedisConnection& connection, Done<std::string> done) const;

  /// What decide() needs.
  struct Decide {
    std::string_view chat_channel = {};  // of the receiver; empty: no chat step (a notification)
    std::string_view push_channel = {};  // of the receiver
    /// Where echo and verdict go: the sender's chat channel, and to the inbox for a notification.
    /// The origin must stay subscribed to it until the verdict has arrived: if it is the only one,
    /// it gets the frame's header alone.
    std::string_view echo_channel = {};
    std::string_view inbox = {};   // of the origin: gets the verdicts late and unavailable
    std::int64_t deadline_ms = 0;  // by the server's clock: later, nothing is published
    std::string_view frame = {};   // as write_node_message() makes it
    std::size_t header_bytes = 0;  // as it returns them
  };
  /// Publishes a message to the receiver's chat channel; where nobody is subscribed, to their push
  /// channel; and the verdict to the sender. All of that is one step. The reply is an array of the
  /// verdict's number and the sockets reached.
  bool decide(RedisConnection& connection, const Decide& call, Handler handler) const;

  /// Publishes a frame to channels, in one step and without a verdict.
  bool publish(RedisConnection& connection, std::span<const std::string_view> channels,
               std::string_view frame, Handler handler) const;

  /// Publishes a frame to all nodes. `done` as for register_node(), and null if no node got it.
  bool ask(RedisConnection& connection, std::string_view frame, Done<const AskReport*> done) const;

  /// Publishes whether `own` is present in `group` to the other side's channel, and whether the
  /// other side is present to `inbox`. After each confirmed join and leave of a node's first or
  /// last socket of a side.
  bool say(RedisConnection& connection, std::string_view group, Side own, std::string_view inbox,
           Handler handler) const;

  /// Publishes whether `user` has a push socket to their reachable channel.
  bool say_reachable(RedisConnection& connection, std::string_view user, Handler handler) const;

  /// Publishes the presence of each channel (at most 500) to `inbox`, with `token`.
  bool recount(RedisConnection& connection, std::string_view inbox, std::uint32_t token,
               std::span<const std::string_view> channels, Handler handler) const;

  /// Enters the table, if the settings of this node fit those of each node that is alive. They fit
  /// if the engine has the same place among as many engines, and each node has the key that the
  /// other one seals with. `is_returning`: this process has been ready before. `known_nodes`: the
  /// names that the last reap() returned. A server that has lost its table then waits for these
  /// nodes. `done` gets null where the connection was lost or the reply was an error.
  bool register_node(RedisConnection& connection, const NodeEntry& node, bool is_returning,
                     std::span<const std::string> known_nodes,
                     Done<const Registration*> done) const;

  /// Publishes `ready` on `all`; once the subscription to `all` is confirmed. Until then, each
  /// register_node() says again that the node was removed.
  bool announce_ready(RedisConnection& connection, const NodeEntry& node, Handler handler) const;

  /// Tells the server that this node is alive, removes the nodes that are gone, and publishes
  /// `gone` for each. To be called each 500 ms. While the table has an earlier incarnation of this
  /// node, it only does the former. `done` as for register_node().
  bool reap(RedisConnection& connection, const NodeEntry& node, Done<const ReapReport*> done) const;

  /// Reads the table. `node` need not be in it. `done` as for register_node().
  bool list_nodes(RedisConnection& connection, const NodeEntry& node,
                  Done<const std::vector<TableEntry>*> done) const;

  /// Leaves the table, and publishes `gone`. The subscriptions should be given up before.
  bool leave(RedisConnection& connection, const NodeEntry& node, Handler handler) const;

 private:
  struct Script {
    std::string_view name;
    std::string source;
    std::string sha;  // as EVALSHA takes it
  };
  enum Name : std::size_t {
    kDecide,
    kPublish,
    kAsk,
    kSay,
    kSayReachable,
    kRecount,
    kRegister,
    kReady,
    kReap,
    kLeave,
    kListNodes,
    kScripts
  };

  bool run(RedisConnection& connection, Name script, std::span<const std::string_view> arguments,
           Handler handler) const;
  bool run_on_table(RedisConnection& connection, Name script, const NodeEntry& node,
                    std::span<const std::string_view> more, Handler handler) const;

  const ChannelNames names_;
  const NodeTimes times_;
  std::string all_, nodes_key_, seen_key_, run_key_, inbox_prefix_;
  std::vector<Script> scripts_;                      // by Name
  mutable std::vector<std::string_view> arguments_;  // kept so that a call allocates nothing
};

}  // namespace waystation
