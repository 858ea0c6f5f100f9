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
#include "relay/message.hpp"

namespace waystation {

/// Asks for the other side of each group of which this node has one side, and for the push sockets
/// of the users that it watches, a few hundred at a time, after nodes have come, gone or returned.
/// The answers arrive in order with all other events. The loop's thread only.
class Recount {
 public:
  using Apply = std::function<void(const ChannelNames::Channel& channel, Presence presence)>;

  /// `shard` must outlive it. `apply` must not throw.
  Recount(Shard& shard, Apply apply) : shard_(shard), apply_(std::move(apply)) {}

  /// Begins, also where an earlier one is under way.
  void start() noexcept;
  void stop() noexcept { asked_.clear(); }
  /// An answer of the engine.
  void on_event(const ClusterEvent& event) noexcept;

 private:
  void ask() noexcept;

  Shard& shard_;
  Apply apply_;
  std::vector<std::string> asked_;  // channels; those from next_ on are still to be asked for
  std::size_t next_ = 0;
  std::size_t count_ = 0;  // of the question that is under way
  std::uint32_t token_ = 0;
};

}  // namespace waystation
