#include "audit/file_size_signal.hpp"

#include <ctime>

namespace waystation {
namespace {

// None of these calls can fail: sets and signals are valid, and a signal that is pending is taken
// without waiting. If another thread takes it first, it is gone, too.

sigset_t only_this() noexcept {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGXFSZ);
  return set;
}

bool is_pending() noexcept {
  sigset_t pending;
  sigemptyset(&pending);
  sigpending(&pending);
  return sigismember(&pending, SIGXFSZ) == 1;
}

}  // namespace

FileSizeSignalBlocker::FileSizeSignalBlocker() noexcept : was_pending_(is_pending()) {
  const sigset_t set = only_this();
  (void)pthread_sigmask(SIG_BLOCK, &set, &before_);
}

FileSizeSignalBlocker::~FileSizeSignalBlocker() {
  // The kernel sends it to the thread that wrote. A pending one of this thread is consumed before
  // the old mask would deliver it.
  if (!was_pending_ && is_pending()) {
    const sigset_t set = only_this();
    const timespec at_once{};
    (void)sigtimedwait(&set, nullptr, &at_once);
  }
  (void)pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace waystation
