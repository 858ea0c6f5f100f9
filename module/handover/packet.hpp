// One message from a unix socket, with the descriptors that came with it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/file_descriptor.hpp"

namespace waystation {

struct Packet {
  enum class Status : std::uint8_t {
    message,
    nothing,  // there is none now
    ended,    // the peer has ended, or sent a message of no bytes
  };

  Status status = Status::nothing;
  std::span<char> bytes;                    // in the caller's buffer
  bool is_cut = false;                      // there were more bytes or descriptors
  std::vector<FileDescriptor> descriptors;  // closed with this object

  /// Receives the next message of a socket of type SOCK_SEQPACKET; never waits. Throws
  /// std::bad_alloc; the message is then lost, and its descriptors are closed.
  static Packet receive(int socket, std::span<char> buffer);
};

}  // namespace waystation
