// The descriptors of the connections that this process has accepted.
//
// CivetWeb has no call that tells the descriptor of a connection. Without it, each upgrade searches
// all descriptors of the process. This program therefore defines accept(), which CivetWeb calls,
// and keeps a record of the results. If CivetWeb does not call it, nothing is recorded, and the
// library searches.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

struct mg_connection;

namespace waystation::server {

/// Which peer was accepted last under each number. Any thread. An object takes 12 MiB, of which
/// only the pages of numbers that were recorded are in memory.
class AcceptedConnections {
 public:
  /// The library adopts no number from here on. Once one was accepted, find() finds nothing.
  static constexpr std::size_t kNumbers = std::size_t{1} << 20;

  /// Records that `descriptor` was accepted. No thread may use the descriptor before that.
  void record(int descriptor, const sockaddr_storage& peer) noexcept;

  /// The descriptor of a connection that is being served, by its peer's address as text and port.
  ///
  /// -1 if another number may have the same peer. Either can be closed by now. Both can be open
  /// too: one from an earlier client that reset its connection, or one to another local address. A
  /// single match is the connection itself, if every connection from accept() is recorded: its
  /// number was not used again, because it is open.
  int find(const char* address, std::uint16_t port) noexcept;

 private:
  // A hash of a peer; 0 for what is no TCP connection. Two peers with one hash count as the same,
  // so that neither is found.
  using Hash = std::uint32_t;
  struct Number {
    Hash hash;
    // Of the list of numbers whose hashes share a slot. 0: none, otherwise one more than a number.
    std::uint32_t next;
    std::uint32_t previous;
  };
  static constexpr std::size_t kSlots = 4096;

  static Hash hash_of(const std::array<unsigned char, 16>& address, std::uint16_t port) noexcept;
  static Hash hash_of(const sockaddr_storage& peer) noexcept;
  static Hash hash_of(const char* address, std::uint16_t port) noexcept;
  Number& at(std::uint32_t link) noexcept { return numbers_[link - 1]; }

  std::mutex mutex_;
  std::array<Number, kNumbers> numbers_{};
  std::array<std::uint32_t, kSlots> first_{};
  bool is_incomplete_ = false;
};

/// The descriptor of a connection whose request CivetWeb serves, or -1; see above.
int accepted_descriptor(const mg_connection* connection) noexcept;

}  // namespace waystation::server
