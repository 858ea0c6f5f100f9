#include "socket.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
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

void TlsSettingsDeleter::operator()(SSL_CTX* settings) const noexcept {
  SSL_CTX_free(settings);
}

void Socket::TlsDeleter::operator()(SSL* tls) const noexcept {
  SSL_free(tls);
}

TlsSettings tls_settings() {
  TlsSettings settings(SSL_CTX_new(TLS_client_method()));
  if (!settings) throw std::runtime_error("SSL_CTX_new failed");
  SSL_CTX_set_verify(settings.get(), SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_mode(settings.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                       SSL_MODE_RELEASE_BUFFERS);
  // Every connection has a whole handshake, as that of a new client.
  SSL_CTX_set_session_cache_mode(settings.get(), SSL_SESS_CACHE_OFF);
  return settings;
}

Socket::~Socket() {
  close();
}

void Socket::close() {
  tls_.reset();
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (state_ != State::failed) state_ = State::closed;
}

void Socket::fail(std::string why) {
  close();
  state_ = State::failed;
  failure_ = std::move(why);
}

void Socket::connect(int epoll, const Endpoint& endpoint, std::string_view target,
                     std::string_view request_fields, bool will_read, bool is_request) {
  static std::uint32_t turn = 0;
  epoll_ = epoll;
  tls_settings_ = endpoint.tls;
  is_request_ = is_request;
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
         " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(endpoint.port) + "\r\n";
  if (is_request) {
    out_ += "Connection: close\r\n";
  } else {
    out_ +=
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: ";
    out_ += kKey;
    out_ += "\r\n";
  }
  out_ += request_fields;
  out_ += "\r\n";
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
  } else if (state_ == State::securing) {
    secure();
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
  if (tls_settings_ == nullptr) {
    state_ = State::upgrading;
    return;
  }
  tls_.reset(SSL_new(tls_settings_));
  if (!tls_ || SSL_set_fd(tls_.get(), fd_) != 1) return fail("SSL_new failed");
  state_ = State::securing;
  secure();
}

void Socket::secure() {
  const int result = SSL_connect(tls_.get());
  if (result == 1) {
    state_ = State::upgrading;
    return flush();
  }
  const int reason = SSL_get_error(tls_.get(), result);
  if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) {
    return fail("the TLS handshake failed");
  }
  watch(reason == SSL_ERROR_WANT_WRITE);
}

ssize_t Socket::tls_result(int result) {
  if (result > 0) return result;
  const int reason = SSL_get_error(tls_.get(), result);
  ERR_clear_error();
  if (reason == SSL_ERROR_ZERO_RETURN) return 0;
  errno = reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
  return -1;
}

ssize_t Socket::write_some(std::string_view bytes) {
  if (!tls_) return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  return tls_result(SSL_write(tls_.get(), bytes.data(), static_cast<int>(bytes.size())));
}

ssize_t Socket::read_some(std::span<char> buffer) {
  if (!tls_) return recv(fd_, buffer.data(), buffer.size(), 0);
  // Record by record: epoll does not report what OpenSSL has already read.
  std::size_t size = 0;
  while (size < buffer.size()) {
    const auto more = tls_result(
        SSL_read(tls_.get(), buffer.data() + size, static_cast<int>(buffer.size() - size)));
    if (more <= 0 && size == 0) return more;
    if (more <= 0) break;
    size += static_cast<std::size_t>(more);
  }
  return static_cast<ssize_t>(size);
}

void Socket::flush() {
  while (!out_.empty() && fd_ >= 0) {
    const auto sent = write_some(out_);
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
  const auto arrived = read_some(room);
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
  if (is_request_) {
    if (!response.starts_with("HTTP/1.1 ")) {
      fail("no answer: " + std::string(bytes.substr(0, 400)));
      return 0;
    }
    close();
    state_ = State::open;  // nothing more comes
    owner.on_open(*this);
    return 0;
  }
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
