#include "reactor/stream.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

namespace waystation {

Stream::Result PlainStream::read_from(int descriptor, std::span<char> buffer) noexcept {
  const auto received = recv(descriptor, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (received > 0) return {static_cast<std::size_t>(received)};
  if (received == 0) return {0, Status::ended};
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {0, Status::want_read};
  return {0, Status::broken};
}

Stream::Result PlainStream::write_to(int descriptor, std::span<const char> bytes) noexcept {
  if (bytes.empty()) return {};
  for (;;) {
    const auto sent = ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      const auto taken = static_cast<std::size_t>(sent);
      // A short send means that the kernel's buffer is full.
      return {taken, taken < bytes.size() ? Status::want_write : Status::ok};
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {0, Status::want_write};
    return {0, Status::broken};
  }
}

Stream::Result PlainStream::shutdown() noexcept {
  (void)::shutdown(socket_.get(), SHUT_WR);  // fails where the peer has gone, which epoll reports
  return {};
}

std::uint64_t PlainStream::unacknowledged_bytes() const noexcept {
  int bytes = 0;
  if (ioctl(socket_.get(), SIOCOUTQ, &bytes) != 0) return 0;
  return static_cast<std::uint64_t>(bytes);
}

Stream::Result UnixStream::read(std::span<char> buffer) noexcept {
  const auto result = PlainStream::read(buffer);
  is_lost_ = is_lost_ || result.status == Status::broken;
  return result;
}

Stream::Result UnixStream::write(std::span<const char> bytes) noexcept {
  forget_read_bytes();
  const auto result = PlainStream::write(bytes);
  unread_ += result.bytes;
  is_lost_ = is_lost_ || result.status == Status::broken;
  return result;
}

std::uint64_t UnixStream::unacknowledged_bytes() const noexcept {
  forget_read_bytes();
  return unread_;
}

void UnixStream::forget_read_bytes() const noexcept {
  if (unread_ == 0 || is_lost_) return;
  // Memory, and so never less than the bytes that the peer has not read.
  const auto held = PlainStream::unacknowledged_bytes();
  if (held >= unread_) return;
  // The peer's close empties the buffer too. It sets an error before that if bytes were unread.
  int error = 0;
  socklen_t size = sizeof error;
  is_lost_ = getsockopt(descriptor(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0;
  if (!is_lost_) unread_ = held;
}

std::unique_ptr<PlainStream> make_plain_stream(int descriptor) {
  int domain = AF_UNSPEC;
  socklen_t size = sizeof domain;
  // Fails for what is no socket, which the first read reports.
  (void)getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  if (domain == AF_UNIX) return std::make_unique<UnixStream>();
  return std::make_unique<PlainStream>();
}

}  // namespace waystation
