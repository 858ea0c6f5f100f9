// The socket of a door, and an asker's side of a connection to it.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_descriptor.hpp"

namespace waystation::test {

/// A listening socket without a file.
class DoorSocket {
 public:
  explicit DoorSocket(int type = SOCK_SEQPACKET)
      : listener_(socket(AF_UNIX, type | SOCK_CLOEXEC, 0)) {
    address_.sun_family = AF_UNIX;
    // Without a name, the kernel chooses an address.
    EXPECT_EQ(bind(listener_.get(), generic(), sizeof address_.sun_family), 0);
    EXPECT_EQ(listen(listener_.get(), 1024), 0);
    EXPECT_EQ(getsockname(listener_.get(), generic(), &size_), 0);
  }

  int get() const noexcept { return listener_.get(); }

  /// `flags`: SOCK_NONBLOCK, or 0.
  FileDescriptor connect(int flags = 0) {
    FileDescriptor asker(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
    EXPECT_EQ(::connect(asker.get(), generic(), size_), 0) << std::strerror(errno);
    return asker;
  }

 private:
  sockaddr* generic() noexcept { return reinterpret_cast<sockaddr*>(&address_); }

  FileDescriptor listener_;
  sockaddr_un address_{};
  socklen_t size_ = sizeof address_;
};

/// Sends a message with descriptors.
inline void send_message(const FileDescriptor& asker, std::string_view message,
                         const std::vector<int>& descriptors = {}) {
  iovec vector{const_cast<char*>(message.data()), message.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(16 * sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const auto size = descriptors.size() * sizeof(int);
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(size);
    auto* const part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(part), descriptors.data(), size);
  }
  EXPECT_EQ(sendmsg(asker.get(), &header, MSG_NOSIGNAL), static_cast<ssize_t>(message.size()))
      << std::strerror(errno);
}

/// The next message. "end" at the end; "nothing" if the socket does not wait and there is none.
inline std::string receive_message(const FileDescriptor& asker) {
  std::array<char, 16'385> buffer;
  const auto size = recv(asker.get(), buffer.data(), buffer.size(), 0);
  if (size > 0) return {buffer.data(), static_cast<std::size_t>(size)};
  return size == 0 || errno == ECONNRESET ? "end" : "nothing";
}

/// Two connected stream sockets, such as a client's connection.
struct SocketPair {
  explicit SocketPair(int flags = 0) {
    std::array<int, 2> fds{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, fds.data()), 0);
    own = FileDescriptor(fds[0]);
    other = FileDescriptor(fds[1]);
  }

  FileDescriptor own, other;
};

}  // namespace waystation::test
