// The last resort of a program that is told to end.
#pragma once

#include <chrono>
#include <functional>
#include <future>

#include "embed/parked_thread.hpp"

namespace waystation::server {

/// Ends the process where an orderly end takes too long: a request, or a disk, that does not come
/// back is not worth a kill by whoever waits for us.
class ExitDeadline {
 public:
  using Clock = std::chrono::steady_clock;

  /// `say` is called at the deadline, gets a moment for it, and may throw. The threads that this
  /// takes are made here, since the end cannot rely on getting any. Throws as ParkedThread.
  explicit ExitDeadline(std::function<void()> say);
  /// The end was in time: nothing happens at the deadline.
  ~ExitDeadline();
  ExitDeadline(const ExitDeadline&) = delete;
  ExitDeadline& operator=(const ExitDeadline&) = delete;

  /// From `deadline` on, calls `say` and ends the process with 0, without running any destructor.
  /// Only the first call counts.
  void set(Clock::time_point deadline) noexcept;

 private:
  void watch() noexcept;

  Clock::time_point deadline_;
  std::promise<void> ended_;
  std::future<void> ended_in_time_ = ended_.get_future();
  std::promise<void> said_;
  std::future<void> said_in_time_ = said_.get_future();
  ParkedThread speaker_;
  ParkedThread watch_;
};

}  // namespace waystation::server
