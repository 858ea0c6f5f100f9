// Asks the engine again who is present.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/events.hpp"
#include "cluster/shard.hpp"
#include "reactor/loop.hpp"
#include "reactor/timer_queue.hpp"
#include "relay/message.hpp"

namespace waystation {

/// Asks for the other side of each group of which this node has one side, and for the push sockets
/// of the users that it watches, a few hundred at a time, after nodes have come, gone or returned.
/// The answers arrive in order with all other events. The loop's thread only.
class Recount final : private Timer {
 public:
  using Apply = std::function<void(const ChannelNames::Channel& channel, Presence presence)>;

  /// `shard` must outlive it. `apply` must not throw.
  Recount(Loop& loop, Shard& shard, Apply apply)
      : Timer(loop.timers()), loop_(loop), shard_(shard), apply_(std::move(apply)) {}

  /// Begins, but not more often than five times a second: each one lists all subscriptions. If an
  /// earlier one is under way, another one follows it.
  void start() noexcept;
  void stop() noexcept;
  /// An answer of the engine.
  void on_event(const ClusterEvent& event) noexcept;

 private:
  void on_timer() noexcept override;
  void begin() noexcept;
  void ask() noexcept;
  void finish() noexcept;

  Loop& loop_;
  Shard& shard_;
  Apply apply_;
  std::vector<std::string> asked_;  // channels; those from next_ on are still to be asked for
  std::size_t next_ = 0;
  std::size_t count_ = 0;  // of the question that is under way
  std::uint32_t token_ = 0;
  bool is_wanted_ = false;          // another one
  std::int64_t asked_ms_ = 0;       // when the question that is under way was asked
  std::int64_t not_before_ms_ = 0;  // the next begin()
};

}  // namespace waystation
