// Adopting a connected socket from the web server that accepted it.
//
// A web server such as CivetWeb does not tell the descriptor of a request. The library finds it by
// the addresses of the connection and duplicates it. It then puts a dead socket under the server's
// number: the server reads end-of-file there, and only the library has the connection.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/file_descriptor.hpp"
#include "base/result.hpp"

namespace waystation {

struct AdoptionFailure;

/// An adopted socket. The process keeps a record of it, so that no later search takes it for a
/// socket of the web server. Closed with its owner; closing never waits for the client.
class AdoptedSocket {
 public:
  AdoptedSocket() = default;
  ~AdoptedSocket() { reset(); }
  AdoptedSocket(AdoptedSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  AdoptedSocket& operator=(AdoptedSocket&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  /// Adopts the connected stream socket `descriptor`, which this process owns: one that was
  /// received with SCM_RIGHTS, or accepted. It is moved to a high number, as adopted sockets are.
  /// No other descriptor is looked at and no dead socket is needed, but for the `reserve`: see
  /// has_descriptors(). On failure, and where std::bad_alloc is thrown, nothing was changed and the
  /// descriptor stays the caller's. Any thread.
  static Result<AdoptedSocket, AdoptionFailure> from(FileDescriptor& descriptor,
                                                     std::uint32_t reserve);

  int get() const noexcept { return fd_; }
  void reset() noexcept;

 private:
  friend class Adopter;
  explicit AdoptedSocket(int fd) noexcept : fd_(fd) {}
  int fd_ = -1;
};

/// The connection that is to be adopted.
struct AdoptionTarget {
  int descriptor = -1;  // where the server knows it; otherwise -1, and the addresses decide
  std::string_view remote_address;
  std::uint16_t remote_port = 0;
  std::uint16_t local_port = 0;
  // Descriptors that stay free. Without any, a server's accept loop would spin.
  std::uint32_t descriptor_reserve = 64;
};

/// Why a socket could not be adopted.
struct AdoptionFailure {
  enum class Cause : std::uint8_t {
    not_found,    // no such connection; the peer may have disconnected, or shut_down() ended it
    ambiguous,    // more than one connection matches; none is adopted
    exhausted,    // too few descriptors are left for the server to go on accepting
    unsupported,  // not a connection that can be adopted
    failed,       // a system call failed
  };
  Cause cause;
  std::string detail;
};

/// Whether `reserve` descriptors are free. Counts all descriptors of the process. Adoptions of
/// given descriptors do not count each time: if there was room for n more, the next n / 2 rely on
/// that, and at most 64. Any thread, as below.
bool has_descriptors(std::uint32_t reserve);

/// Turns SO_LINGER off, which belongs to the socket and not to its owner. With it, close() waits
/// for the client: up to a time that the former owner chose. Does nothing to a descriptor that is
/// no socket. Any thread.
void close_without_waiting(int socket) noexcept;

/// Adopts the one socket that `target` describes, and leaves a dead socket under the server's
/// number. On failure nothing was changed. A given descriptor is not searched for. Any thread; the
/// searches of a process run one after the other.
Result<AdoptedSocket, AdoptionFailure> adopt_socket(const AdoptionTarget& target);

/// A socket under a TLS session that the web server still has to release.
struct GatedSocket {
  AdoptedSocket socket;
  FileDescriptor gate;  // reads end-of-file when the server has shut its descriptor down
};

/// Adopts the connection of the given descriptor, whose ends must be those of `target`. The
/// server's number gets an end of a new socket pair in place of a dead socket. On failure nothing
/// was changed. Any thread.
Result<GatedSocket, AdoptionFailure> adopt_gated(const AdoptionTarget& target);

/// Undoes adopt_gated() before the server goes on: `descriptor` is the connection again, without
/// SO_LINGER. False, and nothing was changed, where a system call fails.
bool give_back(GatedSocket& socket, int descriptor) noexcept;

/// An address as 16 bytes in network order. IPv4 addresses are mapped to IPv6, so that both
/// spellings of an address are equal.
using AddressBytes = std::array<unsigned char, 16>;

/// The ends of a connection of this machine. Only one connection has them at a time.
struct ConnectionEnds {
  AddressBytes peer{};
  std::uint16_t peer_port = 0;
  std::uint16_t local_port = 0;
  friend bool operator==(const ConnectionEnds&, const ConnectionEnds&) = default;
};

/// A connection and the web server's descriptor for it. The server may close it at any time.
struct OpenConnection {
  int descriptor = -1;
  // The kernel's number for the socket. Unlike the ends, it is not used again when a client
  // connects from the same port once more.
  std::uint64_t identity = 0;
  ConnectionEnds ends;
};

/// The TCP connections of this process with one of those local ports, except the adopted ones.
/// Nothing if the process has at most `more_than` descriptors that are not adopted. A descriptor
/// that cannot be examined is left out. Fails if /proc/self/fd cannot be read. Throws
/// std::bad_alloc. Any thread.
Result<std::vector<OpenConnection>, std::error_code> open_connections(
    std::span<const std::uint16_t> local_ports, std::size_t more_than);

/// Shuts down a side of `connection`: SHUT_RD, so that the server reads end-of-file, or SHUT_RDWR,
/// so that its writes fail too. The connection is not adopted from then on. False, and nothing was
/// done, if the descriptor is adopted, belongs to another connection, or cannot be examined. Any
/// thread, as above.
bool shut_down(const OpenConnection& connection, int how) noexcept;

/// The ends of a connection as a web server names them. Empty if the address is no IP address.
/// Throws std::bad_alloc.
std::optional<ConnectionEnds> parse_ends(std::string_view remote_address, std::uint16_t remote_port,
                                         std::uint16_t local_port);

}  // namespace waystation
