#include "handover/packet.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "reactor/adopted_socket.hpp"

namespace waystation {
namespace {

// More than the one that is allowed, so that the kernel closes as few as possible by itself.
constexpr std::size_t kMaxDescriptors = 4;

}  // namespace

Packet Packet::receive(int socket, std::span<char> buffer) {
  Packet packet;
  packet.descriptors.reserve(kMaxDescriptors + 1);  // alignment may leave room for one more
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))> control;
  iovec vector{buffer.data(), buffer.size()};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const auto size = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0) {
    const bool is_later = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    packet.status = is_later ? Status::nothing : Status::ended;
    return packet;
  }
  packet.status = size == 0 ? Status::ended : Status::message;
  packet.bytes = buffer.first(static_cast<std::size_t>(size));
  packet.is_cut = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  for (auto* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const auto count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      packet.descriptors.emplace_back(fd);
      // Also where it is closed again, so that no thread of the relay waits for its client.
      close_without_waiting(fd);
    }
  }
  return packet;
}

}  // namespace waystation
