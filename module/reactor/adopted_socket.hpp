// Taking a connected socket away from the web server that accepted it.
//
// A web server such as CivetWeb does not say which descriptor a request came in on. It is found by
// the connection's addresses, duplicated, and a dead socket is put under the server's number: the
// server then reads end-of-file from what it still holds, and the connection is ours alone.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace waystation {

/// A socket of ours, known process-wide as adopted so that no later search takes it for the web
/// server's. Closed with its owner.
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

  int get() const noexcept { return fd_; }
  void reset() noexcept;

 private:
  friend class Adopter;
  explicit AdoptedSocket(int fd) noexcept : fd_(fd) {}
  int fd_ = -1;
};

/// Which connection is meant.
struct AdoptionTarget {
  int descriptor = -1;  // where the server knows it; otherwise -1 and the rest
  std::string_view remote_address;
  std::uint16_t remote_port = 0;
  std::uint16_t local_port = 0;
  // Descriptors that stay free: without any, a server's accept loop would spin.
  std::uint32_t descriptor_reserve = 64;
};

/// Why a socket could not be adopted.
struct AdoptionFailure {
  enum class Cause : std::uint8_t {
    not_found,    // no such connection; the peer may just have gone
    ambiguous,    // more than one: another user's might be taken, so none is
    exhausted,    // too few descriptors are left for the server to go on accepting
    unsupported,  // not a TCP connection
    failed,       // the system said no
  };
  Cause cause;
  std::string detail;
};

/// Whether a socket could be adopted as far as descriptors go. Any thread, as below.
bool has_descriptors(std::uint32_t reserve);

/// Adopts the one socket that `target` describes. On failure nothing was changed. Any thread; all
/// searches of the process take turns.
std::variant<AdoptedSocket, AdoptionFailure> adopt_socket(const AdoptionTarget& target);

/// An address as 16 bytes in network order, IPv4 in its mapped form, so that both ways of writing
/// it compare equal.
using AddressBytes = std::array<unsigned char, 16>;

/// What tells a connection from others of the same server.
struct ConnectionEnds {
  AddressBytes peer{};
  std::uint16_t peer_port = 0;
  std::uint16_t local_port = 0;
  friend auto operator<=>(const ConnectionEnds&, const ConnectionEnds&) = default;
};

/// A connection under the descriptor that the web server has for it, which may close it any time.
struct OpenConnection {
  int descriptor = -1;
  ConnectionEnds ends;
};

/// The TCP connections of this process with one of those local ports, but for the adopted ones.
/// None where /proc is not there. Throws std::bad_alloc. Any thread, as above.
std::vector<OpenConnection> open_connections(std::span<const std::uint16_t> local_ports);

/// Ends the reading side of `connection`: whoever waits for its bytes reads end-of-file. False, and
/// nothing was done, where the descriptor is another connection's by now. Any thread, as above.
bool end_reading(const OpenConnection& connection) noexcept;

}  // namespace waystation
