// The names that the nodes of a cluster use in the engine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cluster/incarnation.hpp"
#include "relay/message.hpp"

namespace waystation {

/// The name of a channel for a group or a user, which takes no memory of its own.
class ChannelName {
 public:
  operator std::string_view() const noexcept { return {bytes_.data(), size_}; }

 private:
  friend class ChannelNames;
  void append(std::string_view text) noexcept;

  // "ws1:", a cluster's name of 64, ":c:", a group of 129 and ":lo"
  static constexpr std::size_t kMaxBytes = 4 + 64 + 3 + 129 + 3;
  std::array<char, kMaxBytes> bytes_;
  std::size_t size_ = 0;
};

/// Channels and keys. All begin with "ws1:<cluster_name>:".
class ChannelNames {
 public:
  /// How many channels of bits a channel has: see socket_bits().
  static constexpr unsigned kBits = 18;

  /// `cluster` is 1 to 64 of the characters 0-9, a-z, A-Z, '-' and '_'.
  explicit ChannelNames(std::string_view cluster);

  /// The chat sockets of one user in a group. `side` is not Side::anonymous.
  ChannelName chat(std::string_view group, Side side) const noexcept;  // c:<group>:lo, c:<group>:hi
  ChannelName push(std::string_view user) const noexcept;              // p:<user>
  ChannelName reachable(std::string_view user) const noexcept;         // r:<user>
  std::string inbox(const Incarnation& incarnation) const;             // n:<hex>
  std::string all() const;                                             // all

  /// The channel for one bit of the number of a node's sockets on the channel `base`.
  static std::string bit(std::string_view base, unsigned bit);  // <base>#0 … <base>#17
  /// The bits that a node with `sockets` sockets on a channel subscribes to beside the channel. Bit
  /// i of the result stands for bit(base, i). The bits 0 to 15 are those of `sockets` - 1. Bit 17
  /// is set if any of them is, and bit 16 if one of the bits 4 to 15 is: scripts need not ask for
  /// the others then. On a change, subscribe the new ones with one command, then unsubscribe the
  /// old ones.
  static std::uint32_t socket_bits(std::size_t sockets) noexcept;

  // Keys. Hashes by node name: its incarnation and connections; when it was last heard of. And a
  // hash about the server's present run.
  std::string nodes_key() const;
  std::string seen_key() const;
  std::string run_key() const;

  const std::string& prefix() const noexcept { return prefix_; }

  /// A channel that a message came on, as views into it.
  struct Channel {
    enum class Kind : std::uint8_t { chat, push, reachable, inbox, all };
    Kind kind;
    std::string_view name;  // group, user or incarnation; empty for all
    Side side = Side::lo;   // Kind::chat
    bool is_bit = false;    // a channel of bits; nothing is ever published there
  };
  /// Nothing for a channel that is not of this cluster. Names inside are not validated.
  std::optional<Channel> parse(std::string_view channel) const noexcept;

 private:
  std::string prefix_;
};

}  // namespace waystation
