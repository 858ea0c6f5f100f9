// What arrives on a channel: a frame of a node, or a report of a script.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.hpp"
#include "relay/message.hpp"

namespace waystation {

/// The decision about a message.
enum class Verdict : std::uint8_t {
  none,         // nobody is there
  chat,         // published to the receiver's chat channel
  push,         // published to the receiver's push channel
  late,         // the deadline had passed: not published
  unavailable,  // not every node is known to be subscribed: not published, since nobody known to be
                // there is not the same as nobody there
};

/// Whether a user is there. `unknown`: nobody is subscribed, but not every node is.
enum class Presence : std::uint8_t { absent, present, unknown };

/// The payload of one message on a channel. The first byte says what it is; the rest differs.
struct ClusterEvent {
  enum class Kind : char {
    frame = 'M',      // a frame of a node (read_node_message)
    verdict = 'V',    // the decision on a frame
    presence = 'S',   // whether a side of a group is present
    reachable = 'R',  // whether a user has a push socket
    recount = 'Q',    // the answer to recount()
    ready = 'A',      // a node is subscribed
    gone = 'G',       // a node is not there any more
  };

  Kind kind;
  std::string_view frame;                // frame: the payload; verdict: the frame, or its header
  Verdict verdict = Verdict::none;       // verdict
  std::uint32_t reached = 0;             // verdict: sockets subscribed at the decision
  Presence presence = Presence::absent;  // presence, reachable
  Side side = Side::lo;                  // presence
  std::string_view name;                 // presence: group; reachable: user; ready, gone: node name
  std::string_view incarnation;  // ready, gone: its inbox, as Incarnation::hex(); gone: maybe
                                 // empty, of a node that never came to this server
  bool is_settled = false;       // ready, gone: every node in the table is subscribed now
  std::uint32_t token = 0;       // recount: as it was asked
  std::string_view states;       // recount: one byte for each channel: '0' absent, '1' present,
                                 // '2' unknown
};

/// Reads a payload; the error is a clause. Views point into `payload`.
Result<ClusterEvent, std::string_view> read_event(std::string_view payload) noexcept;

}  // namespace waystation
