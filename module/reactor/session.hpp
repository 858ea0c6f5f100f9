// What runs on a connection.
#pragma once

#include <cstdint>
#include <string_view>

#include "websocket/opcode.hpp"

namespace waystation {

/// The application's side of one connection. All calls come on the reactor's thread. What one of
/// them throws ends the connection with internal_error; those that end it must not throw.
class Session {
 public:
  virtual ~Session() = default;

  /// The 101 is in the queue: what is sent from now on comes behind it. If it throws, on_end does
  /// not come.
  virtual void on_open() = 0;

  /// A whole message; text is UTF-8. The view lives until the call returns.
  virtual void on_message(Opcode opcode, std::string_view payload) = 0;

  /// Once in a ping interval.
  virtual void on_heartbeat() = 0;

  /// The connection takes nothing more. Called once after on_open, before on_lost.
  virtual void on_end() noexcept = 0;

  /// What was queued beyond `offset` (in bytes since the start of the connection, see
  /// Connection::queued_offset) will not arrive. May be called more than once, before on_end too,
  /// and while another session is at work.
  virtual void on_lost(std::uint64_t offset) noexcept = 0;
};

}  // namespace waystation
