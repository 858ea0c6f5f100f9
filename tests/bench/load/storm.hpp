// The storm of LoadOptions::storm, in a process of its own.
#pragma once

#include <sys/types.h>

#include <string>

#include "load.hpp"

namespace waystation::load {

/// A child process with the storm's sockets. It gets the time that the server and the generator of
/// the messages leave, since its clients would have machines of their own.
class StormProcess {
 public:
  /// Starts the process, which waits. Throws std::system_error. Call it without further threads.
  explicit StormProcess(const LoadOptions& options);
  /// Ends the process, and with it its sockets.
  ~StormProcess();
  StormProcess(const StormProcess&) = delete;
  StormProcess& operator=(const StormProcess&) = delete;

  void start();
  /// Whether the storm is over. Throws std::runtime_error with the reason if it failed.
  bool is_done();
  /// Its duration, once it is over.
  double seconds() const { return seconds_; }

 private:
  pid_t child_ = -1;
  int start_ = -1;   // written: the storm begins; closed: the child ends
  int result_ = -1;  // the seconds, or what went wrong
  std::string said_;
  double seconds_ = 0;
};

}  // namespace waystation::load
