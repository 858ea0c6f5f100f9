// Taking a connected socket away from the web server that accepted it.
//
// A web server such as CivetWeb does not say which descriptor a request came in on. It is found by
// the connection's addresses, duplicated, and a dead socket is put under the server's number: the
// server then reads end-of-file from what it still holds, and the connection is ours alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

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

}  // namespace waystation
