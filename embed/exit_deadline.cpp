#include "embed/exit_deadline.hpp"

#include <cstdlib>
#include <utility>

namespace waystation::server {
namespace {

constexpr std::chrono::milliseconds kLastWords{200};

}  // namespace

ExitDeadline::ExitDeadline(std::function<void()> say)
    : speaker_{"last-words",
               [this, say = std::move(say)] {
                 try {
                   say();
                 } catch (...) {
                   // Out of memory, as a rule. The process ends without them.
                 }
                 said_.set_value();
               }},
      watch_{"exit-deadline", [this] { watch(); }} {}

ExitDeadline::~ExitDeadline() {
  ended_.set_value();
}

void ExitDeadline::set(Clock::time_point deadline) noexcept {
  deadline_ = deadline;
  watch_.start();
}

void ExitDeadline::watch() noexcept {
  if (ended_in_time_.wait_until(deadline_) == std::future_status::ready) return;
  speaker_.start();
  said_in_time_.wait_for(kLastWords);
  std::_Exit(EXIT_SUCCESS);
}

}  // namespace waystation::server
