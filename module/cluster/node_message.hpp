// What one node sends to others: a header that the engine may read, and a sealed body.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "cluster/incarnation.hpp"
#include "cluster/seal.hpp"
#include "relay/envelope.hpp"
#include "relay/message.hpp"

namespace waystation {

/// What a frame is for. The channel that it arrives on says the rest: the receiver's chat channel
/// brings a message, the sender's its echo, a push channel a push fallback or notification.
enum class NodeMessageKind : std::uint8_t {
  message = 1,       // of a chat socket; body: the value
  notification = 2,  // of the host application; body: the value
  signal = 3,        // body: the value
  question = 4,      // to all nodes; the body says which
  answer = 5,        // to the inbox of the node that asked
};
inline constexpr std::uint8_t kMaxNodeMessageKind = 5;

/// The part of a frame that is not sealed, but authenticated. Names are never longer than the relay
/// allows: group 129 bytes, users and id 64 bytes.
struct NodeHeader {
  NodeMessageKind kind = NodeMessageKind::message;
  Side to_side = Side::lo;                   // of messages: where `to` stands in the group's name
  Protocol from_protocol = Protocol::plain;  // of messages: the sender's
  std::uint32_t key_id = 0;                  // set by write_node_message()
  Incarnation origin;                        // likewise
  std::uint64_t sequence = 0;                // likewise
  std::int64_t at = 0;                       // ms since 1970
  std::uint32_t socket = 0;  // of the origin: a number of its own for the sender, or the question
  std::string_view group;
  std::string_view from;
  std::string_view to;
  std::string_view id;
};

/// Appends a frame to `out` and returns the size of its header. See Sealer::seal() for what it
/// throws; `out` is unchanged then.
///
///     u8 'M', u8 version (1), u8 kind, u8 to side, u8 protocol, u32 key id, 16 bytes incarnation,
///     u64 sequence, u64 at, u32 socket, u8 sizes of group, from, to and id, u32 size of the body,
///     the four texts, the sealed body, 16 bytes tag
std::size_t write_node_message(std::string& out, NodeHeader header, std::string_view body,
                               Sealer& sealer);

/// A frame as views into its bytes.
struct NodeMessage {
  NodeHeader header;
  std::uint32_t body_bytes = 0;   // of the body when it is open
  std::string_view header_bytes;  // what the seal covers besides the body
  std::string_view sealed;        // the body and the tag; empty: the frame is a header only
};

/// Reads a frame, or the header of one alone. Checks every length and the names, but not the seal.
/// The error is a clause.
Result<NodeMessage, std::string_view> read_node_message(std::string_view frame) noexcept;

/// Opens the body; false as Opener::open(), and where the frame is a header only.
bool open_node_message(const NodeMessage& message, Opener& opener, Opener::Copy copy,
                       std::string& body);

}  // namespace waystation
