// Makes a limit on file sizes an error of the write, instead of the end of the process.
#pragma once

#include <csignal>

namespace waystation {

/// Blocks SIGXFSZ for this thread while it lives: a write beyond RLIMIT_FSIZE then fails with
/// EFBIG. By default the signal would end the process.
class FileSizeSignalBlocker {
 public:
  FileSizeSignalBlocker() noexcept;
  ~FileSizeSignalBlocker();
  FileSizeSignalBlocker(const FileSizeSignalBlocker&) = delete;
  FileSizeSignalBlocker& operator=(const FileSizeSignalBlocker&) = delete;

 private:
  sigset_t before_{};
  bool was_pending_ = false;
};

}  // namespace waystation
