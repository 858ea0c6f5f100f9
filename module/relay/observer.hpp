// What happened to a message, told to those who count or audit. There is no field for what a
// message said, so nothing behind this interface can keep it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "relay/envelope.hpp"

namespace waystation {

enum class Outcome : std::uint8_t {
  chat,         // taken by at least one of the receiver's chat sockets
  pushed,       // taken by at least one of their push sockets
  undelivered,  // reached no socket
  dropped,      // taken by a queue whose socket ended before the peer's kernel had it
};

/// Why a socket ended.
enum class EndReason : std::uint8_t {
  closed,      // its peer closed it, or the network did
  slow,        // its peer did not read (4408)
  dead,        // nothing was heard of its peer for two ping intervals
  ended,       // by an administrator (4403)
  expired,     // its token did (4401)
  violation,   // its peer broke the protocol (1002, 1003, 1007, 1008, 1009)
  going_away,  // the relay was drained or freed (1001)
  failed,      // the relay had no memory for it (1011)
};
inline constexpr std::size_t kEndReasons = 8;
std::string_view end_reason_name(EndReason reason) noexcept;

/// One outcome. The views live as long as the call.
struct Delivery {
  Outcome outcome;
  std::int64_t at;         // ms since 1970, of the message
  std::string_view group;  // empty: the appliance's own notification
  std::string_view from;   // empty likewise
  std::string_view to;
  std::string_view id;                   // empty: the client gave none
  std::size_t reached;                   // sockets whose queue took it
  std::size_t bytes;                     // of the message's value
  EndReason reason = EndReason::closed;  // of Outcome::dropped: why the socket ended
};

/// Called on the relay's thread, once a message; it must neither wait nor throw.
class Observer {
 public:
  virtual void on_delivery(const Delivery& delivery) noexcept = 0;
  /// An {"error":…} frame went out.
  virtual void on_error_sent(ErrorCode code) noexcept = 0;

 protected:
  ~Observer() = default;
};

}  // namespace waystation
