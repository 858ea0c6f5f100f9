// The kernel's minimum for a relay: one receive, one unmasking, two sends, and nothing else.
//
//     waystation-floor PORT [CERTIFICATE KEY]
//
// Passes each text frame unchanged to both sockets of a group. No checks, no limits, no JSON, no
// close codes; an invalid frame ends the connection. It is not a server, but a bound: no relay with
// one thread and these system calls can be faster. With a certificate it speaks TLS: then the bound
// includes what OpenSSL needs, and an idle socket's memory is OpenSSL's own.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "websocket/frame_writer.hpp"
#include "websocket/handshake.hpp"

namespace {

using waystation::FrameHeader;
using waystation::Opcode;

struct TlsDeleter {
  void operator()(SSL* tls) const noexcept { SSL_free(tls); }
};

struct Socket {
  int fd = -1;
  std::unique_ptr<SSL, TlsDeleter> tls;
  bool is_open = false;  // after its 101
  bool is_gone = false;
  std::string group;
  std::string unread;
  std::string unsent;
  Socket* other = nullptr;  // in its group
};

class Floor {
 public:
  Floor(std::uint16_t port, const char* certificate, const char* key);
  void run();

 private:
  void accept_all();
  void read(Socket& socket);
  ssize_t receive(Socket& socket);
  ssize_t send_to(Socket& socket, std::string_view bytes);
  void greet(Socket& socket);
  void take_frames(Socket& socket);
  void pass_on(Socket& socket, std::string_view payload);
  void queue(Socket& socket, std::string_view header, std::string_view payload);
  void send_queued();
  void drop(Socket& socket);

  int listener_;
  SSL_CTX* tls_ = nullptr;  // nullptr: no TLS; lives as long as the process
  int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<char> buffer_ = std::vector<char>(1 << 18);
  std::unordered_map<std::string, Socket*> alone_;
  std::vector<Socket*> touched_;
  std::vector<std::unique_ptr<Socket>> sockets_;
};

Floor::Floor(std::uint16_t port, const char* certificate, const char* key)
    : listener_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
  if (certificate != nullptr) {
    tls_ = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(tls_, SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_use_certificate_chain_file(tls_, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls_, key, SSL_FILETYPE_PEM) != 1) {
      std::fputs("waystation-floor: the certificate or the key cannot be used\n", stderr);
      std::exit(1);
    }
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  }
  const int on = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener_, 4096) != 0) {
    std::perror("waystation-floor");
    std::exit(1);
  }
  epoll_event event{};
  event.events = EPOLLIN;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event);
}

void Floor::run() {
  std::array<epoll_event, 64> events;
  for (;;) {
    const int count = epoll_wait(epoll_, events.data(), events.size(), -1);
    for (int i = 0; i < count; ++i) {
      auto* const socket = static_cast<Socket*>(events[static_cast<std::size_t>(i)].data.ptr);
      socket == nullptr ? accept_all() : read(*socket);
    }
    send_queued();
  }
}

void Floor::accept_all() {
  for (;;) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockets_.push_back(std::make_unique<Socket>());
    auto& socket = *sockets_.back();
    socket.fd = fd;
    if (tls_ != nullptr) {
      socket.tls.reset(SSL_new(tls_));
      SSL_set_fd(socket.tls.get(), fd);
      SSL_set_accept_state(socket.tls.get());
    }
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &socket;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }
}

void Floor::read(Socket& socket) {
  if (socket.is_gone) return;
  const auto received = receive(socket);
  if (received < 0 && errno == EAGAIN) return;
  if (received <= 0) return drop(socket);
  socket.unread.append(buffer_.data(), static_cast<std::size_t>(received));
  socket.is_open ? take_frames(socket) : greet(socket);
}

/// As recv(2). With TLS, also the handshake; all records that have arrived.
ssize_t Floor::receive(Socket& socket) {
  if (!socket.tls) return recv(socket.fd, buffer_.data(), buffer_.size(), 0);
  int size = 0;
  while (size < static_cast<int>(buffer_.size())) {
    const int more =
        SSL_read(socket.tls.get(), buffer_.data() + size, static_cast<int>(buffer_.size()) - size);
    if (more <= 0) {
      if (size != 0) break;
      const int reason = SSL_get_error(socket.tls.get(), more);
      ERR_clear_error();
      errno = reason == SSL_ERROR_WANT_READ ? EAGAIN : EPROTO;
      return -1;
    }
    size += more;
  }
  return size;
}

ssize_t Floor::send_to(Socket& socket, std::string_view bytes) {
  if (!socket.tls) return send(socket.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  return SSL_write(socket.tls.get(), bytes.data(), static_cast<int>(bytes.size()));
}

/// Answers a complete request; the target's last but one path segment is the group.
void Floor::greet(Socket& socket) {
  const std::string_view request = socket.unread;
  const auto end = request.find("\r\n\r\n");
  if (end == std::string_view::npos) return;
  constexpr std::string_view kGroup = "/ws/chat/";
  constexpr std::string_view kKey = "Sec-WebSocket-Key: ";
  const auto group = request.find(kGroup);
  const auto key = request.find(kKey);
  if (group == std::string_view::npos || key == std::string_view::npos) return drop(socket);
  const auto name = request.substr(group + kGroup.size());
  socket.group = name.substr(0, name.find('/'));
  const auto value = request.substr(key + kKey.size());
  queue(socket, waystation::switching_protocols(value.substr(0, value.find('\r')), {}), {});
  socket.unread.clear();
  socket.is_open = true;
  const auto [first, is_first] = alone_.try_emplace(socket.group, &socket);
  if (is_first) return;
  socket.other = first->second;
  socket.other->other = &socket;
  alone_.erase(first);
}

void Floor::take_frames(Socket& socket) {
  auto* at = reinterpret_cast<unsigned char*>(socket.unread.data());
  auto* const end = at + socket.unread.size();
  while (end - at >= 2) {
    std::size_t size = at[1] & 0x7FU;
    std::size_t header = 2;
    if (size == 126) {
      if (end - at < 4) break;
      size = std::size_t{at[2]} << 8 | at[3];
      header = 4;
    } else if (size == 127) {
      return drop(socket);
    }
    if (static_cast<std::size_t>(end - at) < header + 4 + size) break;
    const auto opcode = static_cast<Opcode>(at[0] & 0xFU);
    const auto* mask = at + header;
    auto* payload = at + header + 4;
    for (std::size_t i = 0; i < size; ++i) payload[i] ^= mask[i % 4];
    if (opcode == Opcode::close) return drop(socket);
    if (opcode == Opcode::text) pass_on(socket, {reinterpret_cast<char*>(payload), size});
    at = payload + size;
  }
  socket.unread.erase(
      0, static_cast<std::size_t>(at - reinterpret_cast<unsigned char*>(socket.unread.data())));
}

void Floor::pass_on(Socket& socket, std::string_view payload) {
  const FrameHeader header(Opcode::text, payload.size());
  queue(socket, header.view(), payload);
  if (socket.other != nullptr) queue(*socket.other, header.view(), payload);
}

void Floor::queue(Socket& socket, std::string_view header, std::string_view payload) {
  if (socket.unsent.empty()) touched_.push_back(&socket);
  socket.unsent.append(header).append(payload);
}

void Floor::send_queued() {
  for (auto* socket : touched_) {
    if (socket->is_gone) continue;
    const auto size = static_cast<ssize_t>(socket->unsent.size());
    // Its clients always read: a full kernel buffer ends the socket and the run.
    if (send_to(*socket, socket->unsent) != size) drop(*socket);
    socket->unsent.clear();
  }
  touched_.clear();
}

/// Stays allocated: a run is short.
void Floor::drop(Socket& socket) {
  if (std::exchange(socket.is_gone, true)) return;
  socket.tls.reset();
  close(socket.fd);
  if (socket.other != nullptr) socket.other->other = nullptr;
  const auto alone = alone_.find(socket.group);
  if (alone != alone_.end() && alone->second == &socket) alone_.erase(alone);
}

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  const std::string_view text = argc == 2 || argc == 4 ? argv[1] : "";
  if (std::from_chars(text.data(), text.data() + text.size(), port).ec != std::errc()) {
    std::fputs("usage: waystation-floor PORT [CERTIFICATE KEY]\n", stderr);
    return 2;
  }
  Floor(port, argc == 4 ? argv[2] : nullptr, argc == 4 ? argv[3] : nullptr).run();
}
