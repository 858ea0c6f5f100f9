// A message between its sender's socket and its receiver's sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "relay/envelope.hpp"

namespace waystation {

/// Which of a group's two users a socket or a message belongs to.
enum class Side : std::uint8_t {
  lo,
  hi,
  anonymous,  // a socket without a user: counts as present for both
};

/// The group's other user. `side` is not Side::anonymous.
constexpr Side opposite(Side side) noexcept {
  return side == Side::lo ? Side::hi : Side::lo;
}

/// How a message was delivered.
enum class Route : std::uint8_t { none, chat, push };
std::string_view route_name(Route route) noexcept;

/// Where a message goes: decided once, by the backplane.
struct Decision {
  Route route = Route::none;
  std::size_t reached = 0;  // sockets of the receiver whose queue accepted it
  bool is_partial = false;  // other nodes could not be asked
};

/// A message as views into memory of others. All views are valid for the duration of the call that
/// gets it; what has to wait is kept as an OwnedMessage.
struct Message {
  std::string_view value;
  std::string_view group;  // empty: a notification from the host application
  std::string_view from;   // empty: likewise
  std::string_view to;
  std::string_view id;                       // empty: the client gave none
  std::int64_t at = 0;                       // ms since 1970
  Side to_side = Side::lo;                   // where `to` stands in the group's name
  Protocol from_protocol = Protocol::plain;  // the sender's: it decides which sockets get an echo
  std::uint64_t key = 0;    // unique on this node while the relay runs; see Fanout::next_key
  std::uint32_t taken = 0;  // sockets that take it, for a backplane that knows; 0: Fanout counts
};

/// A copy of a message, in one block of memory, for a backplane that answers later.
class OwnedMessage {
 public:
  /// Throws std::bad_alloc.
  explicit OwnedMessage(const Message& message);

  /// The views are valid while this object, or the object that it is moved to, exists.
  const Message& view() const noexcept { return view_; }

 private:
  std::unique_ptr<char[]> bytes_;
  Message view_;
};

}  // namespace waystation
