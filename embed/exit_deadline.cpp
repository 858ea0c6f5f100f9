#include "embed/exit_deadline.hpp"

#include <cstdlib>
#include <utility>

namespace waystation::server {
namespace {

constexpr std::chrono::milliseconds kReportTimeout{200};

}  // namespace

ExitDeadline::ExitDeadline(std::function<void()> report)
    : reporter_{"exit-report",
                [this, report = std::move(report)] {
                  try {
                    report();
                  } catch (...) {
                    // Usually out of memory. The process exits without the report.
                  }
                  reported_.set_value();
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
  reporter_.start();
  reported_in_time_.wait_for(kReportTimeout);
  std::_Exit(EXIT_SUCCESS);
}

}  // namespace waystation::server
