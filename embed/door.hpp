// The socket of the option `handover`, through which nginx hands over connections.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

struct waystation_relay;

namespace waystation::server {

struct Configuration;

/// The values that the option `handover` allows.
inline constexpr std::string_view kDoorAddresses =
    "an absolute path of at most 107 bytes, with or without unix: before it, or fd:NAME with the "
    "FileDescriptorName= of a socket unit";

/// What is wrong with a value of the option. Empty if it is valid.
std::string door_address_problem(std::string_view text);

/// Adds a mistake if the group for the socket's file does not exist.
void check_door(Configuration& configuration);

/// A listening socket. Its file, if it made one, is removed when this is destroyed.
class Door {
 public:
  /// Opens the socket of an option `handover`; nothing if the option is empty. A new file has mode
  /// 0660 and belongs to `group`, if that is not empty. The file of a server that has ended is
  /// replaced. Throws ConfigurationError for a wrong group or socket unit, a path that another
  /// process uses, or one that is no socket; std::runtime_error if a system call fails.
  static std::optional<Door> open(const std::string& address, const std::string& group);

  Door(Door&& other) noexcept
      : name_(std::move(other.name_)),
        socket_(std::exchange(other.socket_, -1)),
        file_(std::exchange(other.file_, {})) {}
  Door& operator=(Door&&) = delete;
  ~Door();

  /// Makes the relay take connections. Throws ConfigurationError or std::runtime_error.
  void connect(waystation_relay* relay) const;

  /// For the log: the path, or "fd:NAME".
  const std::string& name() const noexcept { return name_; }

 private:
  /// Which file was made.
  struct File {
    dev_t device = 0;
    ino_t inode = 0;
  };

  Door(std::string name, int socket) noexcept : name_(std::move(name)), socket_(socket) {}
  void bind(const std::string& group);

  std::string name_;
  int socket_ = -1;
  std::optional<File> file_;
};

}  // namespace waystation::server
