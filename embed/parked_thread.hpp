// A thread that is made before it is needed.
#pragma once

#include <atomic>
#include <functional>
#include <string_view>
#include <thread>

namespace waystation::server {

/// What to do where no thread can be started.
inline constexpr std::string_view kAllowMoreThreads =
    "allow this user more processes (ulimit -u, or TasksMax= in a service) or more memory";

/// Sleeps until it is started, then runs its job once. The end of the program needs threads when
/// none may be available any more, so they are made at its start.
class ParkedThread {
 public:
  /// `name` has at most 15 characters. `job` must not throw. Throws std::runtime_error, which says
  /// what to do, where no thread can be started.
  ParkedThread(const char* name, std::function<void()> job);
  /// finish(). A job that was not started is not run.
  ~ParkedThread();
  ParkedThread(const ParkedThread&) = delete;
  ParkedThread& operator=(const ParkedThread&) = delete;

  /// Lets the job run. Any thread; only the first call counts.
  void start() noexcept;

  /// Returns when the job has ended, or at once where it was not started. One thread at a time.
  void finish() noexcept;

 private:
  enum class State { parked, started, finished };

  std::atomic<State> state_{State::parked};
  std::function<void()> job_;
  std::thread thread_;
};

}  // namespace waystation::server
