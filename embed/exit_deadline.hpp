// The last resort of a program that is told to end.
#pragma once

#include <chrono>
#include <functional>
#include <future>

namespace waystation::server {

/// Ends the process where an orderly end takes too long: a request, or a disk, that does not come
/// back is not worth a kill by whoever waits for us.
class ExitDeadline {
 public:
  using Clock = std::chrono::steady_clock;

  ExitDeadline() = default;
  /// The end was in time: nothing happens at the deadline.
  ~ExitDeadline();
  ExitDeadline(const ExitDeadline&) = delete;
  ExitDeadline& operator=(const ExitDeadline&) = delete;

  /// From `deadline` on, calls `say`, which gets a moment for it, and ends the process with 0,
  /// without running any destructor. Once. Throws std::system_error.
  void set(Clock::time_point deadline, std::function<void()> say);

 private:
  std::promise<void> ended_;
  std::future<void> watch_;
};

}  // namespace waystation::server
