#include "reactor/release_gate.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace waystation {

ReleaseGate::ReleaseGate(Loop& loop, std::unique_ptr<TlsStream> stream, FileDescriptor gate,
                         Done done)
    : Timer(loop.timers()),
      loop_(loop),
      stream_(std::move(stream)),
      gate_(std::move(gate)),
      done_(std::move(done)) {}

ReleaseGate::~ReleaseGate() {
  if (!is_done_) loop_.remove(gate_.get(), *this);
}

void ReleaseGate::start(std::int64_t patience_ms) noexcept {
  if (!loop_.add(gate_.get(), *this, EPOLLIN)) return finish("it cannot be watched with epoll");
  Timer::set(loop_.now_ms() + patience_ms);
}

void ReleaseGate::on_events(std::uint32_t) noexcept {
  if (is_done_) return;
  char byte = 0;
  const auto received = ::recv(gate_.get(), &byte, 1, MSG_DONTWAIT);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (received > 0) return finish("the web server wrote to it after the upgrade");
  if (received < 0) return finish("the socket that tells of the web server's end is broken");
  finish(stream_->begin() ? nullptr : "the TLS session is broken");
}

void ReleaseGate::on_timer() noexcept {
  finish("the web server did not end the request in time");
}

void ReleaseGate::finish(Problem problem) noexcept {
  is_done_ = true;
  Timer::set(TimerQueue::kNever);
  loop_.remove(gate_.get(), *this);
  // The server closes its end; it may be waiting for ours.
  gate_.reset();
  try {
    done_(problem == nullptr ? std::move(stream_) : nullptr, problem);
  } catch (...) {
    done_(nullptr, kNoMemory);
  }
  stream_.reset();
}

}  // namespace waystation
