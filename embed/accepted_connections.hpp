// The descriptors of the connections that this process has accepted.
//
// CivetWeb has no call that tells the descriptor of a connection. Without it, each upgrade searches
// all descriptors of the process. This program therefore defines accept(), which CivetWeb calls,
// and keeps a record of what it returns. If CivetWeb does not call it, nothing is recorded, and the
// library searches.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

struct mg_connection;

namespace waystation::server {

/// Which peer was accepted last under each number. Any thread.
class AcceptedConnections {
 public:
  /// Numbers from here on are not kept. After the first such number, find() finds nothing.
  static constexpr int kNumbers = 1024;

  /// Records that `descriptor` was accepted. To be called before any other function uses it.
  void record(int descriptor, const sockaddr_storage& peer) noexcept;

  /// The descriptor of an open connection from `address` and `port`, that is of one that is being
  /// served. -1 if it is not known, or if another number has the same peer: that connection may be
  /// open too, from a client that was given the same port after a reset.
  int find(const char* address, std::uint16_t port) noexcept;

 private:
  // IPv4 addresses are mapped to IPv6. Port 0: no TCP connection.
  struct Peer {
    std::array<unsigned char, 16> address{};
    std::uint16_t port = 0;
    bool operator==(const Peer&) const = default;
  };
  static Peer read(const sockaddr_storage& peer) noexcept;
  static Peer parse(const char* address, std::uint16_t port) noexcept;

  std::mutex mutex_;
  std::array<Peer, kNumbers> peers_{};
  std::size_t end_ = 0;  // above all recorded numbers
  bool is_complete_ = true;
};

/// The descriptor of a connection whose request CivetWeb serves, or -1; see above.
int accepted_descriptor(const mg_connection* connection) noexcept;

}  // namespace waystation::server
