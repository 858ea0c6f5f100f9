// A deadline for the shutdown of the process.
#pragma once

#include <chrono>
#include <functional>
#include <future>

#include "embed/parked_thread.hpp"

namespace waystation::server {

/// Exits the process if the shutdown takes too long, for example because a request or the disk
/// hangs. Otherwise the service manager would kill it.
class ExitDeadline {
 public:
  using Clock = std::chrono::steady_clock;

  /// `report` is called at the deadline, has 200 ms to return, and may throw. The threads are
  /// created here, because the system may have none left at the deadline. Throws as ParkedThread.
  explicit ExitDeadline(std::function<void()> report);
  /// Cancels the deadline.
  ~ExitDeadline();
  ExitDeadline(const ExitDeadline&) = delete;
  ExitDeadline& operator=(const ExitDeadline&) = delete;

  /// At `deadline`, calls `report` and exits the process with code 0. No destructor runs. Only the
  /// first call counts.
  void set(Clock::time_point deadline) noexcept;

 private:
  void watch() noexcept;

  Clock::time_point deadline_;
  std::promise<void> ended_;
  std::future<void> ended_in_time_ = ended_.get_future();
  std::promise<void> reported_;
  std::future<void> reported_in_time_ = reported_.get_future();
  ParkedThread reporter_;
  ParkedThread watch_;
};

}  // namespace waystation::server
