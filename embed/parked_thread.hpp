// A thread that is created before it is needed.
#pragma once

#include <atomic>
#include <functional>
#include <string_view>
#include <thread>

namespace waystation::server {

/// Advice for errors of thread creation.
inline constexpr std::string_view kAllowMoreThreads =
    "allow this user more processes (ulimit -u, or TasksMax= in a service) or more memory";

/// Sleeps until start(), then runs its job once. The shutdown needs threads at a time when the
/// system may have none left, so they are created when the program starts.
class ParkedThread {
 public:
  /// `name` has at most 15 characters. `job` must not throw. Throws std::runtime_error if no thread
  /// can be created.
  ParkedThread(const char* name, std::function<void()> job);
  /// Calls finish(). A job that was not started does not run.
  ~ParkedThread();
  ParkedThread(const ParkedThread&) = delete;
  ParkedThread& operator=(const ParkedThread&) = delete;

  /// Runs the job. Any thread; only the first call counts.
  void start() noexcept;

  /// Waits for the end of the job. Returns at once if it was not started. One thread at a time.
  void finish() noexcept;

 private:
  enum class State { parked, started, finished };

  std::atomic<State> state_{State::parked};
  std::function<void()> job_;
  std::thread thread_;
};

}  // namespace waystation::server
