// The kernel's data of the server's process and its children.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>

namespace waystation::load {

struct ProcessUse {
  double user_seconds = 0;  // of all threads
  double system_seconds = 0;
  std::uint64_t resident_kib = 0;
};

/// Of `pid` and its descendants; all zero if the process does not exist.
ProcessUse process_use(pid_t pid);

/// The sum over processes that are not descendants of each other.
ProcessUse process_use(std::span<const pid_t> pids);

}  // namespace waystation::load
