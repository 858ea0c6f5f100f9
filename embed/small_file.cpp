#include "embed/small_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace waystation::server {
namespace {

std::string unreadable() {
  return "cannot be read: " + std::generic_category().message(errno);
}

}  // namespace

std::variant<SmallFile, std::string> read_small_file(const std::string& path) {
  struct Descriptor {
    int number;
    ~Descriptor() {
      if (number >= 0) ::close(number);
    }
  } const file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (file.number < 0) return unreadable();
  struct stat status {};
  if (::fstat(file.number, &status) != 0) return unreadable();
  if (S_ISDIR(status.st_mode)) return "a directory";
  if (!S_ISREG(status.st_mode)) return "not a regular file";

  // Allocated once: a string that grows leaves copies of a key in freed memory. One byte more than
  // allowed, because a file may grow after fstat(2).
  SmallFile result{std::string(kMaxSmallFileBytes + 1, '\0'), status.st_mode, status.st_uid};
  std::size_t size = 0;
  while (size < result.text.size()) {
    const auto got = ::read(file.number, result.text.data() + size, result.text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable();
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > kMaxSmallFileBytes) return "too large";
  result.text.resize(size);
  return result;
}

}  // namespace waystation::server
