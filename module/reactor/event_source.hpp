// What epoll reports to.
#pragma once

#include <cstdint>

namespace waystation {

/// The owner of a descriptor that the reactor watches: a connection, a listening socket, the
/// eventfd of the tasks. It must live until the end of the round in which it was removed.
class EventSource {
 public:
  /// The reactor's thread. `events` are epoll's: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR. May be
  /// called once more in the round in which the source was removed.
  virtual void on_events(std::uint32_t events) noexcept = 0;

 protected:
  ~EventSource() = default;
};

}  // namespace waystation
