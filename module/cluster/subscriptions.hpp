// The channels that a node is subscribed to on one engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string_view>
#include <vector>

#include "base/named.hpp"
#include "cluster/redis_connection.hpp"

namespace waystation {

/// Counts the sockets of this node on each channel, and keeps the engine's subscriptions the same:
/// the channel, and one channel for each bit of the count (ChannelNames::socket_bits). The engine
/// confirms in order, so a confirmation tells what it counted when it published what comes next.
/// The loop's thread only.
class Subscriptions {
 public:
  /// Stands for a socket that waits for its confirmation. Never used twice.
  using Token = std::uint64_t;

  /// No function may call this object.
  class Listener {
   public:
    /// The engine counts the socket from now on.
    virtual void on_counted(Token token) noexcept = 0;
    /// The first socket of the channel is counted, or the last one is not any more. Not called for
    /// what is subscribed again after a lost connection.
    virtual void on_presence_changed(std::string_view channel) noexcept = 0;
    /// Everything is subscribed again that was wanted at connect().
    virtual void on_restored() noexcept = 0;

   protected:
    ~Listener() = default;
  };

  explicit Subscriptions(Listener& listener) noexcept : listener_(listener) {}
  Subscriptions(const Subscriptions&) = delete;
  Subscriptions& operator=(const Subscriptions&) = delete;

  /// One more socket on `channel`. on_counted(token) follows, not inside this call. Throws
  /// std::bad_alloc, and nothing is added.
  void add(std::string_view channel, Token token);
  /// One socket less, whether it is counted or not.
  void remove(std::string_view channel) noexcept;

  /// How many sockets of this node the engine counted when it published what is now received.
  std::size_t counted(std::string_view channel) const noexcept;
  /// How many sockets of this node are on the channel, counted or not.
  std::size_t wanted(std::string_view channel) const noexcept;
  std::size_t size() const noexcept { return entries_.size(); }

  /// Calls `f(std::string_view channel)` for each channel with a counted socket.
  template <typename F>
  void for_each_counted(F&& f) const {
    entries_.visit_all([&](const Entry& entry) {
      if (entry.counted != 0) f(entry.name());
    });
  }

  /// Subscribes everything over `connection`, which is ready, and all changes until disconnect().
  void connect(RedisConnection& connection) noexcept;
  /// The engine counts nothing any more.
  void disconnect() noexcept;

  /// The connection confirmed one channel of these.
  void on_confirmation() noexcept;
  /// The connection has room again.
  void on_drained() noexcept { send_changes(); }

 private:
  struct Entry final : Named<Entry, std::uint16_t> {
    bool is_sent = false;         // the channel itself, as sent_bits
    bool is_changed = false;      // in the list of changes
    std::uint32_t wanted = 0;     // sockets
    std::uint32_t counted = 0;    // as the engine has confirmed it
    std::uint32_t sent_bits = 0;  // what is subscribed, or will be once all is confirmed
    std::uint32_t steps = 0;      // that point here
    Entry* next_change = nullptr;
    Entry* next_in_set = nullptr;
  };

  /// What is true once the engine has confirmed so many channels.
  struct Step {
    std::uint64_t confirmations;
    Entry* entry;
    std::uint32_t counted;
    bool is_quiet;  // subscribed again
    std::vector<Token> tokens;
  };

  std::vector<Token> take_waiting(Entry& entry);
  void note_change(Entry& entry) noexcept;
  void send_changes() noexcept;
  bool send_change(Entry& entry);
  void erase_if_unused(Entry& entry) noexcept;
  void finish_restoring() noexcept;

  Listener& listener_;
  NamedSet<Entry, &Entry::next_in_set> entries_;
  std::multimap<Entry*, Token> waiting_;  // whose subscription is not sent
  RedisConnection* connection_ = nullptr;
  Entry* first_change_ = nullptr;
  Entry* last_change_ = nullptr;
  std::deque<Step> steps_;
  std::uint64_t asked_ = 0;      // channels that were sent to be confirmed
  std::uint64_t confirmed_ = 0;  // of them
  // After connect(): how many of the changes restore something, and the number of confirmations
  // after which all is restored.
  std::size_t restoring_ = 0;
  std::uint64_t restored_at_ = 0;
  bool is_restoring_ = false;
};

}  // namespace waystation
