// Starts threads.
#pragma once

#include <pthread.h>

#include <system_error>
#include <thread>
#include <utility>

namespace waystation {

/// Runs `run` on a thread named `name` (at most 15 characters). Throws std::system_error, whose
/// text says what to do, if no thread can be created.
template <typename Run>
std::thread start_thread(const char* name, Run&& run) {
  try {
    std::thread thread(std::forward<Run>(run));
    (void)pthread_setname_np(thread.native_handle(), name);
    return thread;
  } catch (const std::system_error& error) {
    throw std::system_error(error.code(),
                            "cannot start a thread; allow this user more processes (ulimit -u, or "
                            "TasksMax= in a service) or more memory");
  }
}

}  // namespace waystation
