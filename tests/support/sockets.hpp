// Loopback sockets for tests: every wait has a condition and a deadline.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/file_descriptor.hpp"

namespace waystation::test {

/// The deadline of a test's wait. A passing test never reaches it.
inline constexpr std::chrono::seconds kPatience{20};

[[noreturn]] inline void fail_with_errno(const char* what) {
  throw std::system_error(errno, std::system_category(), what);
}

/// Waits until `condition` is true. Returns false at the deadline.
template <typename F>
bool eventually(F&& condition, std::chrono::milliseconds patience = kPatience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    poll(nullptr, 0, 1);
  }
  return true;
}

/// An IP address and port.
class Endpoint {
 public:
  Endpoint() = default;
  Endpoint(const std::string& address, std::uint16_t port) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage_);
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage_);
    if (inet_pton(AF_INET, address.c_str(), &v4.sin_addr) == 1) {
      v4.sin_family = AF_INET;
      v4.sin_port = htons(port);
      size_ = sizeof v4;
    } else if (inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr) == 1) {
      v6.sin6_family = AF_INET6;
      v6.sin6_port = htons(port);
      size_ = sizeof v6;
    } else {
      throw std::invalid_argument(address);
    }
  }

  static Endpoint local_of(int fd) {
    Endpoint endpoint;
    endpoint.size_ = sizeof endpoint.storage_;
    if (getsockname(fd, endpoint.get(), &endpoint.size_) != 0) fail_with_errno("getsockname");
    return endpoint;
  }

  static Endpoint peer_of(int fd) {
    Endpoint endpoint;
    endpoint.size_ = sizeof endpoint.storage_;
    if (getpeername(fd, endpoint.get(), &endpoint.size_) != 0) fail_with_errno("getpeername");
    return endpoint;
  }

  sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage_); }
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const noexcept { return size_; }
  int family() const noexcept { return storage_.ss_family; }

  std::string address() const {
    char text[INET6_ADDRSTRLEN] = "";
    if (family() == AF_INET) {
      inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(storage_).sin_addr, text,
                sizeof text);
    } else if (family() == AF_INET6) {
      inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(storage_).sin6_addr, text,
                sizeof text);
    }
    return text;
  }

  std::uint16_t port() const noexcept {
    return ntohs(family() == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(storage_).sin6_port
                                      : reinterpret_cast<const sockaddr_in&>(storage_).sin_port);
  }

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

inline void reuse_address(int fd) {
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
}

/// Closing the socket sends a reset immediately.
inline void reset_on_close(int fd) {
  const linger at_once{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

/// Sets the kernel's buffer size for a socket, before it listens or connects.
inline void shrink_buffers(int fd, int bytes) {
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

/// Returns a number that no other socket of this machine has.
inline std::uint64_t cookie_of(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) fail_with_errno("SO_COOKIE");
  return cookie;
}

/// Listens on a port: by default one that the system chooses.
class Listener {
 public:
  explicit Listener(const std::string& address = "127.0.0.1", bool dual = false,
                    int buffer_bytes = 0, std::uint16_t port = 0)
      : Listener(Endpoint(address, port), dual, buffer_bytes) {}

  std::uint16_t port() const { return Endpoint::local_of(fd_.get()).port(); }

  FileDescriptor accept() const {
    pollfd ready{fd_.get(), POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) != 1) {
      throw std::runtime_error("accept: no connection before the deadline");
    }
    const int fd = accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) fail_with_errno("accept");
    return FileDescriptor(fd);
  }

  int get() const noexcept { return fd_.get(); }

 private:
  Listener(const Endpoint& endpoint, bool dual, int buffer_bytes)
      : fd_(socket(endpoint.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (!fd_) fail_with_errno("socket");
    reuse_address(fd_.get());
    if (buffer_bytes != 0) shrink_buffers(fd_.get(), buffer_bytes);
    const int only = dual ? 0 : 1;
    if (endpoint.family() == AF_INET6) {
      setsockopt(fd_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    }
    if (bind(fd_.get(), endpoint.get(), endpoint.size()) != 0) fail_with_errno("bind");
    if (listen(fd_.get(), 1024) != 0) fail_with_errno("listen");
  }

  FileDescriptor fd_;
};

/// An unconnected socket, bound to a source port if one is given.
inline FileDescriptor client_socket(int family, const Endpoint* from = nullptr) {
  FileDescriptor fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) fail_with_errno("socket");
  if (from != nullptr) {
    reuse_address(fd.get());
    if (bind(fd.get(), from->get(), from->size()) != 0) fail_with_errno("bind");
  }
  return fd;
}

inline FileDescriptor connect_to(const Endpoint& to, const Endpoint* from = nullptr,
                                 int buffer_bytes = 0) {
  auto fd = client_socket(to.family(), from);
  if (buffer_bytes != 0) shrink_buffers(fd.get(), buffer_bytes);
  if (connect(fd.get(), to.get(), to.size()) != 0) fail_with_errno("connect");
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

/// Sends all bytes. Returns false if the connection has ended.
inline bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

/// The result of one receive.
struct Received {
  enum class End { none, eof, reset } end = End::none;
  std::string bytes;
};

/// Receives at least one byte or the end of the stream.
inline Received receive_some(int fd, std::size_t most = 65536) {
  pollfd ready{fd, POLLIN, 0};
  if (poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) != 1) {
    throw std::runtime_error("nothing came");
  }
  Received received;
  received.bytes.resize(most);
  const auto count = recv(fd, received.bytes.data(), most, 0);
  received.bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  if (count == 0) received.end = Received::End::eof;
  if (count < 0) received.end = Received::End::reset;
  return received;
}

/// Receives exactly this many bytes, or fewer if the connection ends first.
inline std::string receive_exactly(int fd, std::size_t count) {
  std::string bytes;
  while (bytes.size() < count) {
    auto received = receive_some(fd, count - bytes.size());
    if (received.end != Received::End::none) break;
    bytes += received.bytes;
  }
  return bytes;
}

/// Returns true if the stream ends next.
inline bool reads_eof(int fd) {
  const auto received = receive_some(fd);
  return received.end == Received::End::eof;
}

/// Descriptors that the first adoption opens for the life of the process: the dead socket, and the
/// list of descriptors.
constexpr std::size_t kKeptDescriptors = 2;

/// The number of open descriptors of this process.
inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count - 1;  // without the one that reads the folder
}

/// Raises this process's descriptor limit to the hard limit and returns it. A login shell's limit
/// is 1024.
inline rlim_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) fail_with_errno("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) fail_with_errno("setrlimit");
  return limit.rlim_cur;
}

}  // namespace waystation::test
