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

/// A web server with a thread for each connection that it reads from serves nobody while as many
/// connections as it has threads say nothing. This ends some of them where others wait for a
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

  /// To be called every so often; a connection is slow that was there in the call before and has no
  /// whole request waiting to be read.
  ///
  /// Where the server holds more connections than it has workers, the slow ones of the address with
  /// the most connections are ended, the oldest first, until it holds half as many as workers: what
  /// one address has is ended at its own cost. Of a connection only the reading side is ended. The
  /// server reads end-of-file, and an answer that it is writing still goes out.
  ///
  /// Returns how many were ended. Any thread; no socket is adopted while the list of them is made.
  /// Throws std::bad_alloc.
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
