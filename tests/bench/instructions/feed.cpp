// Passes messages through a whole relay, from one client's socket to the sockets of the receivers.
// callgrind counts the instructions of the relay's thread:
//
//     waystation_feed SCENE MESSAGES
//
// The relay is the real one, including the reactor; the program's first thread is the clients. A
// round of frames is sent at once, and the next round waits for all replies. The relay so wakes
// exactly once per round, and counts are repeatable. The kernel's work is not counted: it depends
// on the machine.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <semaphore>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/file_descriptor.hpp"
#include "reactor/adopted_socket.hpp"
#include "reactor/relay_service.hpp"
#include "websocket/frame_writer.hpp"

namespace {

using namespace waystation;

constexpr std::string_view kResponse = "HTTP/1.1 101 Switching Protocols\r\n\r\n";

struct Names {
  std::string_view from, to, id;
};

constexpr Names kShort{"alice", "bob", "4fQ-7a_Kx"};
// Typical for systems that number their users and give each message an id: none of these fits the
// small buffer of a std::string.
constexpr Names kLong{"10000000000000000001", "10000000000000000002",
                      "0b9f7c1e-8d3a-4c52-9e6b-2f1a7d4c8e05"};

struct Scene {
  std::string_view name;
  SocketKind receiver;
  Protocol protocol;
  std::size_t bytes;
  std::size_t frames_a_round;  // of each pair
  bool ascii = true;
  Names names = kShort;
  std::size_t pairs = 1;
};

constexpr Scene kScenes[] = {
    {"plain_chat_64_alone", SocketKind::chat, Protocol::plain, 64, 1},
    {"plain_chat_64", SocketKind::chat, Protocol::plain, 64, 4},
    {"v1_chat_64", SocketKind::chat, Protocol::v1, 64, 4},
    {"v1_chat_64_long_names", SocketKind::chat, Protocol::v1, 64, 4, true, kLong},
    {"plain_push_64", SocketKind::push, Protocol::plain, 64, 4},
    {"v1_push_64", SocketKind::push, Protocol::v1, 64, 4},
    {"v1_push_64_long_names", SocketKind::push, Protocol::v1, 64, 4, true, kLong},
    {"plain_chat_2048", SocketKind::chat, Protocol::plain, 2048, 4},
    {"plain_chat_2048_chinese", SocketKind::chat, Protocol::plain, 2048, 4, false},
    {"plain_chat_32768", SocketKind::chat, Protocol::plain, 32768, 1},
    {"plain_chat_64_1000_pairs", SocketKind::chat, Protocol::plain, 64, 1, true, kLong, 1000},
};

std::string client_frame(const Scene& scene, std::string_view to) {
  std::string value = "\"";
  const std::string_view filler = scene.ascii ? "word for word, " : "一字不差地";
  while (value.size() + filler.size() + 1 <= scene.bytes) value += filler;
  value.append(scene.bytes - 1 - value.size(), '.');
  value += '"';
  auto text = "{\"message\":" + value + ",\"to_user\":\"" + std::string(to) + '"';
  if (scene.protocol == Protocol::v1) text += ",\"id\":\"" + std::string(scene.names.id) + '"';
  text += '}';
  const std::string mask = "\x37\xfa\x21\x3d";
  std::string frame(FrameHeader(Opcode::text, text.size()).view());
  frame[1] = static_cast<char>(frame[1] | '\x80');
  frame += mask;
  for (std::size_t i = 0; i < text.size(); ++i) {
    frame += static_cast<char>(text[i] ^ mask[i % 4]);
  }
  return frame;
}

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::system_category(), what);
}

/// A client of the relay, which waits for the expected frames.
class Client {
 public:
  Client(RelayService& service, SessionParameters parameters) {
    auto adopted = adopt_socket({connect().get(), "", 0, 0});
    if (!adopted ||
        !service.open(*adopted, std::string(kResponse), nullptr, std::move(parameters))) {
      std::abort();
    }
    while (unread_.size() < kResponse.size()) read();
    unread_.erase(0, kResponse.size());
  }

  void say(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) fail("send");
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  /// Returns after `count` more frames have arrived.
  void hear(std::size_t count) {
    for (; count != 0; --count) {
      std::size_t size = 0;
      while ((size = first_frame()) == 0) read();
      unread_.erase(0, size);
    }
  }

 private:
  /// Connects through loopback and returns the relay's end.
  FileDescriptor connect() {
    const FileDescriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    fd_ = FileDescriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    // A round fits all buffers, so that every send is complete.
    const int room = 1 << 20;
    const int on = 1;
    for (const int fd : {listener.get(), fd_.get()}) {
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    }
    setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    if (bind(listener.get(), generic, size) != 0 || listen(listener.get(), 1) != 0 ||
        getsockname(listener.get(), generic, &size) != 0 ||
        ::connect(fd_.get(), generic, size) != 0) {
      fail("connect");
    }
    FileDescriptor accepted(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!accepted) fail("accept");
    return accepted;
  }

  void read() {
    std::array<char, 65536> buffer;
    const auto arrived = recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (arrived <= 0) fail("recv");
    unread_.append(buffer.data(), static_cast<std::size_t>(arrived));
  }

  /// The size of the first frame (RFC 6455, section 5.2), or 0 while it is not complete.
  std::size_t first_frame() const {
    const auto byte = [this](std::size_t i) { return static_cast<unsigned char>(unread_[i]); };
    if (unread_.size() < 4) return 0;  // no frame here is shorter
    if (byte(0) != 0x81) std::abort();
    std::size_t at = 2;
    std::size_t size = byte(1);
    if (size == 126) {
      size = static_cast<std::size_t>(byte(2)) << 8 | byte(3);
      at = 4;
    } else if (size > 126) {
      std::abort();
    }
    return unread_.size() < at + size ? 0 : at + size;
  }

  FileDescriptor fd_;
  std::string unread_;
};

/// Two clients of one group, and what one says to the other.
class Pair {
 public:
  Pair(RelayService& service, const Scene& scene, std::size_t number)
      : scene_(scene),
        from_(name(scene.names.from, number)),
        to_(name(scene.names.to, number)),
        group_(from_ + "_" + to_),
        sender_(service, {SocketKind::chat, scene.protocol, group_, from_, 0}) {
    if (is_v1()) sender_.hear(1);  // the presence of the other user
    receiver_ = std::make_unique<Client>(
        service,
        SessionParameters{scene.receiver, scene.protocol, is_push() ? "" : group_, to_, 0});
    if (is_v1()) sender_.hear(1);  // it is present or reachable now
    if (is_v1() && !is_push()) receiver_->hear(1);
    const auto frame = client_frame(scene, to_);
    for (std::size_t i = 0; i < scene.frames_a_round; ++i) round_ += frame;
  }

  void say() { sender_.say(round_); }
  void hear() {
    // The message itself, or the acknowledgement.
    if (is_v1() || !is_push()) sender_.hear(scene_.frames_a_round);
    receiver_->hear(scene_.frames_a_round);
  }

 private:
  static std::string name(std::string_view of, std::size_t number) {
    return number == 0 ? std::string(of) : std::string(of) + std::to_string(number);
  }
  bool is_push() const { return scene_.receiver == SocketKind::push; }
  bool is_v1() const { return scene_.protocol == Protocol::v1; }

  const Scene& scene_;
  std::string from_, to_, group_, round_;
  Client sender_;
  std::unique_ptr<Client> receiver_;
};

int run(const Scene& scene, std::size_t messages) {
  RelayOptions options;
  options.rate = {1'000'000, 1'000'000};
  options.reactor.ping_interval_seconds = 3600;
  RelayService service(options, nullptr, nullptr);

  std::vector<std::unique_ptr<Pair>> pairs;
  for (std::size_t i = 0; i < scene.pairs; ++i) {
    pairs.push_back(std::make_unique<Pair>(service, scene, i));
  }
  const auto messages_a_round = scene.frames_a_round * scene.pairs;
  const auto rounds = messages / messages_a_round;
  for (std::size_t i = 0; i < rounds; ++i) {
    std::binary_semaphore all_said(0);
    if (pairs.size() > 1) {
      // The relay waits, so that it finds all of a round at once.
      service.presence_async("nobody", [&](const auto&) { all_said.acquire(); });
    }
    for (const auto& pair : pairs) pair->say();
    all_said.release();
    for (const auto& pair : pairs) pair->hear();
  }

  service.stop();
  const auto& stats = service.stats();
  const bool is_push = scene.receiver == SocketKind::push;
  const auto passed = is_push ? stats.messages_pushed.load() : stats.messages_chat.load();
  std::printf("%llu messages passed\n", static_cast<unsigned long long>(passed));
  return passed == rounds * messages_a_round && stats.errors_sent.load() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (argc == 3) {
    const auto messages = static_cast<std::size_t>(std::atol(argv[2]));
    for (const auto& scene : kScenes) {
      if (scene.name == argv[1]) return run(scene, messages);
    }
  }
  std::fprintf(stderr, "usage: waystation_feed SCENE MESSAGES; scenes are:\n");
  for (const auto& scene : kScenes) std::fprintf(stderr, "  %s\n", scene.name.data());
  return 2;
}
