// Connections that keep a web server waiting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string_view>

#include "reactor/adopted_socket.hpp"
#include "reactor/mutex.hpp"

namespace waystation {

/// Protects a web server that needs a thread for each connection that it reads from: as many silent
/// connections as threads would stop it. This class ends some of them when others wait for a
/// thread.
class SlowConnections {
 public:
  /// What the web server and its operator know.
  struct Server {
    std::span<const std::uint16_t> ports;  // that it listens on
    std::size_t workers = 0;               // connections that it can read from at one time
    // Whether connections from an address are never ended.
    std::function<bool(const AddressBytes&)> is_exempt;
    // Whether bytes that wait to be read are a whole request, so that the connection waits for the
    // server and not the other way round.
    std::function<bool(std::string_view)> is_whole;
  };

  /// To be called at intervals. A connection is slow if it was open in the previous call and has no
  /// whole request waiting to be read.
  ///
  /// If the server holds more connections than it has workers, slow ones are ended until it holds
  /// half as many as workers. They are taken from the address with the most connections, the oldest
  /// first, so that an address with many connections pays for them. Only the reading side of a
  /// connection is ended. The server reads end-of-file, and an answer that it is writing is sent.
  ///
  /// Returns how many were ended. Any thread; no socket is adopted while the connections are
  /// listed. Throws std::bad_alloc.
  std::size_t end(const Server& server);

 private:
  struct Known {
    std::uint64_t since = 0;  // number of the call that saw it first
    bool is_ended = false;
  };

  Mutex mutex_;  // one call after the other
  std::uint64_t calls_ WAYSTATION_GUARDED_BY(mutex_) = 0;
  std::map<ConnectionEnds, Known> known_ WAYSTATION_GUARDED_BY(mutex_);
};

}  // namespace waystation
