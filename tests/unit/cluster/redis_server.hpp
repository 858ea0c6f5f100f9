// Real servers of Redis and Sentinel in a folder of their own, and a client that waits.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/engine_address.hpp"
#include "cluster/resp.hpp"
#include "support/sockets.hpp"

namespace waystation::test {

/// A reply as one line: texts as they are, "(nil)", "(error) …", integers, arrays in brackets.
inline std::string to_line(const Reply& reply) {
  switch (reply.type) {
    case Reply::Type::nil:
      return "(nil)";
    case Reply::Type::integer:
      return std::to_string(reply.integer);
    case Reply::Type::error:
      return "(error) " + std::string(reply.text);
    case Reply::Type::text:
    case Reply::Type::status:
      return std::string(reply.text);
    case Reply::Type::array:
      break;
  }
  std::string line = "[";
  for (const auto& element : reply.elements) {
    if (line.size() > 1) line += ' ';
    line += to_line(element);
  }
  return line + "]";
}

/// A client that waits for its replies.
class BlockingClient {
 public:
  explicit BlockingClient(const std::string& socket_path)
      : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
    is_connected_ =
        ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  explicit BlockingClient(std::uint16_t port)
      : socket_(client_socket(AF_INET)), is_connected_([&] {
          const Endpoint to("127.0.0.1", port);
          return ::connect(socket_.get(), to.get(), to.size()) == 0;
        }()) {}

  bool is_connected() const noexcept { return is_connected_; }

  void send(const std::vector<std::string_view>& arguments) {
    std::string command;
    append_command(command, arguments);
    if (!send_all(socket_.get(), command)) throw std::runtime_error("the server has gone");
  }

  /// The next reply or push, or "(end)".
  std::string receive() {
    for (;;) {
      if (const auto* reply = reader_.next()) return to_line(*reply);
      if (rest_.empty()) {
        const auto received = receive_some(socket_.get());
        if (received.end != Received::End::none) return "(end)";
        bytes_ = received.bytes;
        rest_ = bytes_;
      }
      reader_.feed(rest_);
    }
  }

  std::string ask(const std::vector<std::string_view>& arguments) {
    send(arguments);
    return receive();
  }

 private:
  FileDescriptor socket_;
  bool is_connected_ = false;
  ReplyReader reader_;
  std::string bytes_;
  std::span<const char> rest_;
};

/// A folder that is removed with its owner.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string path = std::filesystem::temp_directory_path() / "waystation-redis-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) fail_with_errno("mkdtemp");
    path_ = path;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

/// A child process, killed with its owner.
class ServerProcess {
 public:
  ServerProcess() = default;
  ~ServerProcess() { kill(); }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  void start(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    for (const auto& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    const int error = posix_spawn(&pid_, arguments[0], nullptr, nullptr, arguments.data(), environ);
    if (error != 0) throw std::system_error(error, std::system_category(), command.front());
  }
  void signal(int number) const { ::kill(pid_, number); }
  /// SIGKILL, also to a stopped process.
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
};

/// A port of 127.0.0.1 that nothing listens on. A socket keeps it until this process ends, so that
/// the system gives it to nobody else. A server that sets SO_REUSEADDR, as Redis does, may listen.
inline std::uint16_t free_port() {
  static std::vector<FileDescriptor> keepers;
  auto& keeper = keepers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  reuse_address(keeper.get());
  const Endpoint any("127.0.0.1", 0);
  if (bind(keeper.get(), any.get(), any.size()) != 0) fail_with_errno("bind");
  return Endpoint::local_of(keeper.get()).port();
}

/// A redis-server on a unix socket, and on a port if asked.
class RedisServer {
 public:
  explicit RedisServer(std::vector<std::string> options = {}, std::uint16_t port = 0)
      : options_(std::move(options)), port_(port) {
    start();
  }

  void start() {
    std::vector<std::string> command{WAYSTATION_REDIS_SERVER,
                                     "--port",
                                     std::to_string(port_),
                                     "--bind",
                                     "127.0.0.1",
                                     "--unixsocket",
                                     path(),
                                     "--dir",
                                     folder_.path(),
                                     "--logfile",
                                     folder_.path() / "log",
                                     "--save",
                                     "",
                                     "--loglevel",
                                     "warning",
                                     "--repl-diskless-sync-delay",
                                     "0"};
    command.insert(command.end(), options_.begin(), options_.end());
    process_.start(command);
    const bool is_up = eventually([&] {
      BlockingClient client(path());
      return client.is_connected() && !client.ask({"PING"}).empty();
    });
    if (!is_up) throw std::runtime_error("redis-server does not start");
  }
  void kill() { process_.kill(); }
  void pause() { process_.signal(SIGSTOP); }
  void resume() { process_.signal(SIGCONT); }

  std::string path() const { return folder_.path() / "redis.sock"; }
  std::uint16_t port() const noexcept { return port_; }
  EngineHost host() const {
    return port_ == 0 ? EngineHost{path(), 0} : EngineHost{"127.0.0.1", port_};
  }
  BlockingClient client() const { return BlockingClient(path()); }
  std::string ask(const std::vector<std::string_view>& arguments) const {
    return client().ask(arguments);
  }

 private:
  std::vector<std::string> options_;
  std::uint16_t port_;
  TemporaryFolder folder_;
  ServerProcess process_;
};

/// A redis-sentinel that watches one primary, named "main", with a quorum of 1. To it, a server
/// that is silent for a minute is down.
class SentinelServer {
 public:
  explicit SentinelServer(std::uint16_t primary_port) : port_(free_port()) {
    const auto file = folder_.path() / "sentinel.conf";
    std::ofstream(file) << "port " << port_ << "\nbind 127.0.0.1\ndir " << folder_.path().string()
                        << "\nlogfile " << (folder_.path() / "log").string()
                        << "\nsentinel monitor main 127.0.0.1 " << primary_port
                        << " 1\nsentinel down-after-milliseconds main 60000"
                        << "\nsentinel failover-timeout main 3000\n";
    process_.start({WAYSTATION_REDIS_SENTINEL, file});
    const bool is_up = eventually([&] { return BlockingClient(port_).is_connected(); });
    if (!is_up) throw std::runtime_error("redis-sentinel does not start");
  }

  EngineHost host() const { return {"127.0.0.1", port_}; }
  std::string ask(const std::vector<std::string_view>& arguments) const {
    return BlockingClient(port_).ask(arguments);
  }

 private:
  std::uint16_t port_;
  TemporaryFolder folder_;
  ServerProcess process_;
};

}  // namespace waystation::test
