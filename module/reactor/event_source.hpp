// What epoll reports to.
#pragma once

#include <cstdint>

namespace waystation {

/// The owner of a descriptor that the reactor watches: a connection, a listening socket, the
/// eventfd of the tasks.
class EventSource {
 public:
  /// The reactor's thread. `events` are those of epoll, as Loop::add names them. Not called after
  /// Loop::remove.
  virtual void on_events(std::uint32_t events) noexcept = 0;

 protected:
  ~EventSource() = default;
};

}  // namespace waystation
