#include "embed/descriptors.hpp"

#include <sys/resource.h>

#include <algorithm>

namespace waystation::server {
namespace {

constexpr std::uint32_t kConnectionQueue = 1024;
// Listeners, epoll, eventfd and timers, the audit's files, and files that are read temporarily.
constexpr std::uint32_t kFiles = 64;

}  // namespace

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  if (limit.rlim_cur < limit.rlim_max) {
    const auto soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = soft;
  }
  return limit.rlim_cur;
}

std::uint32_t connection_queue() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kConnectionQueue;
  return static_cast<std::uint32_t>(std::clamp<rlim_t>(limit.rlim_cur / 8, 1, kConnectionQueue));
}

std::uint32_t own_descriptors() {
  return connection_queue() + kWorkers + kFiles;
}

}  // namespace waystation::server
