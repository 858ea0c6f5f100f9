// The application side of a connection.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "websocket/opcode.hpp"

namespace waystation {

/// The application side of one connection. All calls come on the reactor's thread. An exception
/// ends the connection with internal_error.
class Session {
 public:
  virtual ~Session() = default;

  /// The 101 is queued and waits for Connection::accept(), which the session calls now or later.
  /// Messages can be sent after that. If this throws, on_end is not called.
  virtual void on_open() = 0;

  /// The connection ends before it was accepted; on_end follows. Returns the HTTP response to send
  /// in place of the 101; empty: none. May throw.
  virtual std::string on_refused() = 0;

  /// A complete message; text is valid UTF-8. The view is valid until the call returns.
  virtual void on_message(Opcode opcode, std::string_view payload) = 0;

  /// Once in a ping interval.
  virtual void on_heartbeat() = 0;

  /// The connection takes no more messages. Called once after on_open.
  virtual void on_end() noexcept = 0;

  /// Messages queued beyond `offset` will not arrive. It counts bytes since the start of the
  /// connection, see Connection::queued_offset. May be called more than once, also before on_end,
  /// and during a call to another session.
  virtual void on_lost(std::uint64_t offset) noexcept = 0;
};

}  // namespace waystation
