#include "reactor/loop.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>

#include "base/clock.hpp"

namespace waystation {
namespace {

constexpr std::size_t kReadBufferBytes = 256 * 1024;
// What one read of a socket takes, unless a long frame lacks more. As much may wait in memory for a
// socket that is paused.
constexpr std::size_t kReadBytes = 8 * 1024;

}  // namespace

Loop::Loop(const FrameLimits& frames, const OutboxPool::Limits& queues,
           std::int64_t ping_interval_ms)
    : ping_interval_ms_(ping_interval_ms),
      frame_limits_(frames),
      pool_(queues),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      read_buffer_(kReadBufferBytes) {
  if (!epoll_) throw std::system_error(errno, std::system_category(), "epoll_create1");
  read_clock();
}

void Loop::read_clock() noexcept {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  now_.wall_ms = wall_clock_ms();
  now_.steady_ms =
      duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::span<char> Loop::read_buffer(std::uint64_t frame_rest) noexcept {
  const auto rest = std::min<std::uint64_t>(frame_rest, read_buffer_.size() - kReadBytes);
  return std::span(read_buffer_).first(static_cast<std::size_t>(rest) + kReadBytes);
}

bool Loop::control(int operation, int descriptor, EventSource& source,
                   std::uint32_t events) noexcept {
  epoll_event event{};
  event.events = events | ((events & EPOLLIN) != 0 ? EPOLLRDHUP : 0U);
  event.data.ptr = &source;
  return epoll_ctl(epoll_.get(), operation, descriptor, &event) == 0;
}

bool Loop::add(int descriptor, EventSource& source, std::uint32_t events) noexcept {
  return control(EPOLL_CTL_ADD, descriptor, source, events);
}

bool Loop::change(int descriptor, EventSource& source, std::uint32_t events) noexcept {
  if (control(EPOLL_CTL_MOD, descriptor, source, events)) return true;
  return errno == ENOENT && add(descriptor, source, events);  // suspended
}

void Loop::suspend(int descriptor) noexcept {
  // Fails only where that has happened.
  (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor, nullptr);
}

void Loop::remove(int descriptor, const EventSource& source) noexcept {
  suspend(descriptor);
  for (auto& event : unreported_) {
    if (event.data.ptr == &source) event.data.ptr = nullptr;
  }
}

}  // namespace waystation
