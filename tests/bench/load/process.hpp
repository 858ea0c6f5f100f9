// What the kernel says about the server's process and those it started.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace waystation::load {

struct ProcessUse {
  double user_seconds = 0;  // of all threads
  double system_seconds = 0;
  std::uint64_t resident_kib = 0;
};

/// Of `pid` and its descendants; all zero where there is no such process.
ProcessUse process_use(pid_t pid);

}  // namespace waystation::load
