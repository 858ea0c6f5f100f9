// The outcome of messages, for counters and the audit. There is no field for content, so nothing
// behind this interface can store it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "relay/envelope.hpp"

namespace waystation {

enum class Outcome : std::uint8_t {
  chat,         // accepted by at least one chat socket of the receiver
  pushed,       // accepted by at least one push socket of the receiver
  undelivered,  // accepted by no socket
  dropped,      // accepted by a socket that ended before its peer acknowledged the bytes
};

/// Why a socket ended.
enum class EndReason : std::uint8_t {
  closed,      // by its peer or the network
  slow,        // its peer read too slowly (4408)
  dead,        // its peer sent nothing for two ping intervals
  ended,       // by an administrator (4403)
  expired,     // its token expired (4401)
  violation,   // its peer broke the protocol (1002, 1003, 1007, 1008, 1009)
  going_away,  // the relay was drained or freed (1001)
  failed,      // the relay was out of memory (1011)
};
inline constexpr std::size_t kEndReasons = 8;
std::string_view end_reason_name(EndReason reason) noexcept;

/// One outcome. The views are valid for the duration of the call.
struct Delivery {
  Outcome outcome;
  std::int64_t at;         // ms since 1970, of the message
  std::string_view group;  // empty: a notification from the host application
  std::string_view from;   // empty: likewise
  std::string_view to;
  std::string_view id;                   // empty: the client gave none
  std::size_t reached;                   // sockets whose queue accepted it; 0 if dropped
  std::size_t bytes;                     // of the message's value
  EndReason reason = EndReason::closed;  // of Outcome::dropped: why the socket ended
  std::uint64_t key = 0;                 // of the message; see Message::key
  // Of Outcome::dropped: the number of sockets whose queue accepted the message. It is lost when as
  // many have dropped it.
  std::size_t taken = 0;
};

/// Called on the relay's thread. Must not wait.
class Observer {
 public:
  /// Once for each message, then once for each socket that loses it (Outcome::dropped).
  virtual void on_delivery(const Delivery& delivery) noexcept = 0;
  /// An error frame was sent to a client.
  virtual void on_error_sent(ErrorCode code) noexcept = 0;

 protected:
  ~Observer() = default;
};

}  // namespace waystation
