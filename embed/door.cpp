#include "embed/door.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include <waystation/waystation.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

#include "embed/configuration.hpp"
#include "embed/options.hpp"
#include "embed/relay_options.hpp"

namespace waystation::server {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr std::string_view kFd = "fd:";
// At a restart of nginx many clients connect at once; each waits here for less than a millisecond.
constexpr int kBacklog = 4096;

std::string_view without_prefix(std::string_view text) {
  if (text.starts_with(kUnix)) text.remove_prefix(kUnix.size());
  return text;
}

[[noreturn]] void refuse(std::string_view address, std::string_view problem,
                         std::string_view allowed) {
  throw ConfigurationError{"handover = " + quoted(address) + ": " + std::string{problem} +
                           "; allowed: " + std::string{allowed}};
}

[[noreturn]] void fail(std::string_view address, std::string_view what) {
  throw std::runtime_error{"handover = " + quoted(address) + ": " + std::string{what} + ": " +
                           std::generic_category().message(errno)};
}

sockaddr_un address_of(std::string_view path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

int new_socket() {
  return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/// A descriptor that is closed with this object.
struct Closer {
  int descriptor;
  ~Closer() {
    if (descriptor >= 0) close(descriptor);
  }
};

/// Whether a process listens on the socket file.
bool has_listener(const sockaddr_un& address) {
  const Closer probe{new_socket()};
  const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
  return connect(probe.descriptor, generic, sizeof address) == 0 || errno != ECONNREFUSED;
}

/// The socket that systemd passed with this FileDescriptorName=.
int passed_socket(const std::string& address) {
  const auto name = address.substr(kFd.size());
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(0, &names);
  int found = -1;
  for (int i = 0; i < count; ++i) {
    if (name == names[i]) found = SD_LISTEN_FDS_START + i;
    std::free(names[i]);  // NOLINT(*-no-malloc,*-owning-memory): systemd allocates with malloc()
  }
  std::free(names);  // NOLINT(*-no-malloc,*-owning-memory)
  if (found < 0) {
    refuse(address, "systemd passed no socket of this name",
           "the FileDescriptorName= of a socket unit that is active");
  }
  if (sd_is_socket(found, AF_UNIX, SOCK_SEQPACKET, 1) <= 0) {
    refuse(address, "not a unix socket of type SOCK_SEQPACKET",
           "a socket unit with ListenSequentialPacket=");
  }
  return found;
}

std::string no_such_group(std::string_view group) {
  return "handover_group = " + quoted(group) +
         ": there is no such group; allowed: " + find_option("handover_group")->allowed;
}

gid_t group_id(const std::string& group) {
  const auto* const entry = getgrnam(group.c_str());
  if (entry == nullptr) throw ConfigurationError{no_such_group(group)};
  return entry->gr_gid;
}

}  // namespace

std::string door_address_problem(std::string_view text) {
  if (text.empty()) return {};
  if (text.starts_with(kFd)) return text == kFd ? "no name after fd:" : "";
  const auto path = without_prefix(text);
  if (!path.starts_with('/')) return "not an absolute path";
  if (path.size() >= sizeof sockaddr_un{}.sun_path) return "longer than a socket's path can be";
  return {};
}

void check_door(Configuration& configuration) {
  const auto& address = configuration.settings.text("handover");
  const auto& group = configuration.settings.text("handover_group");
  const bool makes_file = !address.empty() && !address.starts_with(kFd);
  if (makes_file && !group.empty() && getgrnam(group.c_str()) == nullptr) {
    configuration.add_mistake("handover_group", no_such_group(group));
  }
}

std::optional<Door> Door::open(const std::string& address, const std::string& group) {
  if (address.empty()) return std::nullopt;
  if (address.starts_with(kFd)) return Door{address, passed_socket(address)};
  Door door{std::string{without_prefix(address)}, new_socket()};
  if (door.socket_ < 0) fail(address, "no socket");
  door.bind(group);
  return door;
}

void Door::bind(const std::string& group) {
  const auto& path = name_;
  const auto address = address_of(path);
  const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
  const auto folder = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  const Closer lock{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (lock.descriptor < 0) fail(path, "its folder cannot be opened");
  // Two servers that start at once must not both find the old file unused.
  if (flock(lock.descriptor, LOCK_EX | LOCK_NB) != 0) fail(path, "its folder cannot be locked");

  struct stat found {};
  if (lstat(path.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode)) refuse(path, "not a socket", "a path that is free, or a socket");
    if (has_listener(address)) {
      refuse(path, "another process listens there", "a path of its own for each server");
    }
    if (unlink(path.c_str()) != 0) fail(path, "the old file cannot be removed");
  }
  // The file gets the mode of the socket: nobody else may connect before the group is set.
  if (fchmod(socket_, S_IRUSR | S_IWUSR) != 0) fail(path, "fchmod");
  if (::bind(socket_, generic, sizeof address) != 0) fail(path, "the file cannot be made");
  if (lstat(path.c_str(), &found) == 0) file_ = File{found.st_dev, found.st_ino};
  if (!group.empty() && lchown(path.c_str(), static_cast<uid_t>(-1), group_id(group)) != 0) {
    fail(path, "the group of the file cannot be set to " + group);
  }
  if (chmod(path.c_str(), S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP) != 0) {
    fail(path, "the mode of the file cannot be set");
  }
  if (listen(socket_, kBacklog) != 0) fail(path, "listen");
}

Door::~Door() {
  if (socket_ >= 0) close(socket_);
  struct stat found {};
  // Another server may have replaced the file.
  if (file_ && lstat(name_.c_str(), &found) == 0 && found.st_dev == file_->device &&
      found.st_ino == file_->inode) {
    (void)unlink(name_.c_str());
  }
}

void Door::connect(waystation_relay* relay) const {
  LibraryError error;
  error.check(waystation_handover_listen(relay, socket_, error));
}

}  // namespace waystation::server
