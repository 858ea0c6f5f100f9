// A limit of the size of files is an error to us, never the end of the process.
#pragma once

#include <csignal>

namespace waystation {

/// While it lives, a write of this thread beyond the limit (RLIMIT_FSIZE) fails with EFBIG,
/// whatever the process does about SIGXFSZ: by default that would end it.
class FileSizeSignal {
 public:
  FileSizeSignal() noexcept;
  ~FileSizeSignal();
  FileSizeSignal(const FileSizeSignal&) = delete;
  FileSizeSignal& operator=(const FileSizeSignal&) = delete;

 private:
  sigset_t before_{};
  bool was_pending_ = false;
};

}  // namespace waystation
