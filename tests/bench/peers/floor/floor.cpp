// The kernel's minimum for a relay: one receive, one unmasking, two sends, and nothing else.
//
//     waystation-floor PORT
//
// Passes each text frame unchanged to both sockets of a group. No checks, no limits, no JSON, no
// close codes; an invalid frame ends the connection. It is not a server, but a bound: no relay with
// one thread and these system calls can be faster.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
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

struct Socket {
  int fd = -1;
  bool is_open = false;  // after its 101
  bool is_gone = false;
  std::string group;
  std::string unread;
  std::string unsent;
  Socket* other = nullptr;  // in its group
};

class Floor {
 public:
  explicit Floor(std::uint16_t port);
  void run();

 private:
  void accept_all();
  void read(Socket& socket);
  void greet(Socket& socket);
  void take_frames(Socket& socket);
  void pass_on(Socket& socket, std::string_view payload);
  void queue(Socket& socket, std::string_view header, std::string_view payload);
  void send_queued();
  void drop(Socket& socket);

  int listener_;
  int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<char> buffer_ = std::vector<char>(1 << 18);
  std::unordered_map<std::string, Socket*> alone_;
  std::vector<Socket*> touched_;
  std::vector<std::unique_ptr<Socket>> sockets_;
};

Floor::Floor(std::uint16_t port)
    : listener_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
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
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &socket;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }
}

void Floor::read(Socket& socket) {
  if (socket.is_gone) return;
  const auto received = recv(socket.fd, buffer_.data(), buffer_.size(), 0);
  if (received <= 0) return drop(socket);
  socket.unread.append(buffer_.data(), static_cast<std::size_t>(received));
  socket.is_open ? take_frames(socket) : greet(socket);
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
    if (send(socket->fd, socket->unsent.data(), socket->unsent.size(), MSG_NOSIGNAL) != size) {
      drop(*socket);
    }
    socket->unsent.clear();
  }
  touched_.clear();
}

/// Stays allocated: a run is short.
void Floor::drop(Socket& socket) {
  if (std::exchange(socket.is_gone, true)) return;
  close(socket.fd);
  if (socket.other != nullptr) socket.other->other = nullptr;
  const auto alone = alone_.find(socket.group);
  if (alone != alone_.end() && alone->second == &socket) alone_.erase(alone);
}

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  const std::string_view text = argc == 2 ? argv[1] : "";
  if (std::from_chars(text.data(), text.data() + text.size(), port).ec != std::errc()) {
    std::fputs("usage: waystation-floor PORT\n", stderr);
    return 2;
  }
  Floor(port).run();
}
