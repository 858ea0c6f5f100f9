#include "socket.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "pattern.hpp"

namespace waystation::load {
namespace {

// The example of RFC 6455, section 1.3: servers accept the same key from every client.
constexpr std::string_view kKey = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view kAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

std::string error_text(const char* what, int error) {
  return std::string(what) + ": " + std::system_category().message(error);
}

sockaddr_in loopback(std::uint32_t last, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + last);
  return address;
}

}  // namespace

Socket::~Socket() {
  close();
}

void Socket::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (state_ != State::failed) state_ = State::closed;
}

void Socket::fail(std::string why) {
  close();
  state_ = State::failed;
  failure_ = std::move(why);
}

void Socket::connect(int epoll, const Endpoint& endpoint, std::string_view target,
                     std::string_view request_fields, bool will_read) {
  static std::uint32_t turn = 0;
  epoll_ = epoll;
  is_reading_ = true;
  closed_with_ = 0;
  unread_.clear();
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return fail(error_text("socket", errno));
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // The kernel selects the port by the whole connection: many more than one address has ports.
  setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (!will_read) {
    const int small = 4096;
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  }
  const auto from = loopback(2 + turn++ % endpoint.source_addresses, 0);
  const auto to = loopback(1, endpoint.port);
  if (bind(fd_, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) {
    return fail(error_text("bind", errno));
  }
  out_ = "GET " + std::string(target) +
         " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(endpoint.port) +
         "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: " +
         std::string(kKey) + "\r\n" + std::string(request_fields) + "\r\n";
  state_ = State::connecting;
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 &&
      errno != EINPROGRESS) {
    return fail(error_text("connect", errno));
  }
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT;
  event.data.ptr = this;
  is_watching_writable_ = true;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd_, &event) != 0) fail(error_text("epoll_ctl", errno));
}

void Socket::watch(bool writable) {
  if (writable == is_watching_writable_ || fd_ < 0) return;
  is_watching_writable_ = writable;
  epoll_event event{};
  event.events = (is_reading_ ? static_cast<std::uint32_t>(EPOLLIN) : 0U) |
                 (writable ? static_cast<std::uint32_t>(EPOLLOUT) : 0U);
  event.data.ptr = this;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd_, &event);
}

void Socket::stop_reading() {
  is_reading_ = false;
  is_watching_writable_ = out_.empty();  // so that watch() changes something
  watch(!out_.empty());
}

void Socket::read_again() {
  is_reading_ = true;
  is_watching_writable_ = out_.empty();
  watch(!out_.empty());
}

void Socket::on_event(std::uint32_t events, std::span<char> buffer, SocketOwner& owner) {
  if (state_ == State::connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
    on_connected();
  }
  if (state_ != State::upgrading && state_ != State::open) return;
  if ((events & EPOLLOUT) != 0) flush();
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0 || fd_ < 0) return;
  if (!is_reading_) return fail("ended by the server");
  read(buffer, owner);
}

void Socket::on_connected() {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return fail(error_text("connect", error));
  state_ = State::upgrading;
}

void Socket::flush() {
  while (!out_.empty() && fd_ >= 0) {
    const auto sent = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) break;
      return fail(error_text("send", errno));
    }
    if (static_cast<std::size_t>(sent) == out_.size()) {
      out_.clear();
    } else {
      out_.erase(0, static_cast<std::size_t>(sent));
    }
  }
  watch(!out_.empty());
}

void Socket::read(std::span<char> buffer, SocketOwner& owner) {
  std::memcpy(buffer.data(), unread_.data(), unread_.size());
  const auto room = buffer.subspan(unread_.size());
  const auto arrived = recv(fd_, room.data(), room.size(), 0);
  if (arrived < 0) {
    if (errno != EAGAIN && errno != EINTR) fail(error_text("recv", errno));
    return;
  }
  if (arrived == 0) {
    return fail(state_ == State::open ? "ended by the server" : "refused without an answer");
  }
  std::string_view bytes(buffer.data(), unread_.size() + static_cast<std::size_t>(arrived));
  while (!bytes.empty() && fd_ >= 0) {
    const auto taken =
        state_ == State::upgrading ? take_response(bytes, owner) : take_frame(bytes, owner);
    if (taken == 0) break;
    bytes.remove_prefix(taken);
  }
  unread_.assign(bytes);
}

std::size_t Socket::take_response(std::string_view bytes, SocketOwner& owner) {
  const auto end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return 0;
  const auto response = bytes.substr(0, end);
  if (!response.starts_with("HTTP/1.1 101") || response.find(kAccept) == std::string_view::npos) {
    fail("refused: " + std::string(bytes.substr(0, 400)));
    return 0;
  }
  state_ = State::open;
  owner.on_open(*this);
  return end + 4;
}

std::size_t Socket::take_frame(std::string_view bytes, SocketOwner& owner) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() < 2) return 0;
  std::size_t size = byte(1);
  std::size_t at = 2;
  if (size >= 126) {
    const std::size_t extended = size == 126 ? 2 : 8;
    if (bytes.size() < 2 + extended) return 0;
    for (size = 0; at < 2 + extended; ++at) size = size << 8 | byte(at);
  }
  if (bytes.size() - at < size) return 0;
  const auto payload = bytes.substr(at, size);
  switch (byte(0)) {
    case 0x81:
      owner.on_text(*this, payload);
      break;
    case 0x89:
      ++pings;
      out_ += client_frame(0xA, payload);
      flush();
      break;
    case 0x8A:
      break;
    case 0x88:
      closed_with_ =
          payload.size() < 2 ? 1005U : static_cast<unsigned>(byte(at) << 8 | byte(at + 1));
      fail("closed by the server with " + std::to_string(closed_with_));
      break;
    default:
      fail("a frame that a server of texts does not send");
      break;
  }
  return at + size;
}

}  // namespace waystation::load
