// Connections that keep a web server waiting.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <unordered_map>

#include "base/mutex.hpp"
#include "base/result.hpp"
#include "reactor/adopted_socket.hpp"

namespace waystation {

/// The part of an address that one subscriber has: all of an IPv4 address, the first 64 bits of an
/// IPv6 address. The rest is 0.
AddressBytes network_of(AddressBytes address) noexcept;

/// Protects a web server that needs a thread for each connection that it reads from or writes to:
/// as many silent connections as threads would stop it. This class ends some of them when others
/// wait for a thread.
class SlowConnections {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// How long a connection is left alone after end() saw it first, and between its two ends.
  static constexpr std::chrono::milliseconds kSlowAfter{400};
  /// The same for the connections of a network that holds more than its share.
  static constexpr std::chrono::milliseconds kCrowdedAfter{40};
  /// end() has to be called more often than this, or it starts anew with each connection.
  static constexpr std::chrono::seconds kForgetAfter{5};

  /// What the web server and its operator know.
  struct Server {
    std::span<const std::uint16_t> ports;  // that it listens on
    std::size_t workers = 0;               // connections that it can serve at one time
    // Whether connections from an address are never ended.
    std::function<bool(const AddressBytes&)> is_exempt;
    // Whether bytes that wait to be read are a whole request, so that the connection waits for the
    // server and not the other way round.
    std::function<bool(std::string_view)> is_whole;
  };

  /// To be called twice a second, or more often while all workers are busy. A connection is slow if
  /// an earlier call saw it at least kSlowAfter ago, and the server waits for the client: no whole
  /// request waits to be read, or the client has not taken what was sent to it.
  ///
  /// Nothing is ended unless the server holds more connections than it has workers. Then a network
  /// (an IPv4 address or an IPv6 /64 prefix) may hold half as many as workers to which the server
  /// has sent nothing, as no whole request has arrived. Of those above its share that an earlier
  /// call saw at least kCrowdedAfter ago, the oldest are ended. Clients in a TLS handshake take no
  /// share.
  ///
  /// If the server still holds more than half as many as workers, slow connections are ended until
  /// it does not. They are taken from the network with the most connections, the oldest first. Of
  /// networks with equally many, the one with the oldest connection goes first.
  ///
  /// First, only the reading side of a connection is ended: the server reads end-of-file, and an
  /// answer that it is writing is sent. If the client has still not taken the answer kSlowAfter
  /// later and others still wait, the writing side is ended too.
  ///
  /// Returns how many were ended, or why the connections cannot be listed. Several servers may
  /// share one object. Any thread. Throws std::bad_alloc.
  Result<std::size_t, std::error_code> end(const Server& server, Time now);

  /// Keeps the connection of a request from being ended, as long as the library works on the
  /// request. Any thread, but one at a time.
  class Serving {
   public:
    /// Nothing is kept if the ends are not known.
    Serving(SlowConnections& owner, const std::optional<ConnectionEnds>& ends) noexcept;
    ~Serving();
    Serving(const Serving&) = delete;
    Serving& operator=(const Serving&) = delete;

    /// Whether the library waits for the client's body. Such a connection may be ended.
    void set_waiting(bool waiting) noexcept {
      is_waiting_.store(waiting, std::memory_order_relaxed);
    }

   private:
    friend class SlowConnections;
    SlowConnections& owner_;
    const std::optional<ConnectionEnds> ends_;
    std::atomic<bool> is_waiting_ = false;
    // Of the owner's list, guarded by its mutex.
    Serving* previous_ = nullptr;
    Serving* next_ = nullptr;
  };

 private:
  enum class Stage : std::uint8_t { open, reading_ended, ended };
  struct Known {
    Time since;  // the first sight, or the end of reading
    Time seen;   // the last sight
    Stage stage = Stage::open;
  };

  bool is_served(const ConnectionEnds& ends) noexcept;

  Mutex mutex_;  // one call of end() after the other
  std::unordered_map<std::uint64_t, Known> known_ WAYSTATION_GUARDED_BY(mutex_);  // by identity
  Mutex serving_mutex_;
  Serving* first_serving_ WAYSTATION_GUARDED_BY(serving_mutex_) = nullptr;
};

}  // namespace waystation
