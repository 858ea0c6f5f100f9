#include "embed/exit_deadline.hpp"

#include <cstdlib>
#include <utility>

namespace waystation::server {
namespace {

constexpr std::chrono::milliseconds kLastWords{200};

}  // namespace

ExitDeadline::~ExitDeadline() {
  ended_.set_value();
}

void ExitDeadline::set(Clock::time_point deadline, std::function<void()> say) {
  watch_ =
      std::async(std::launch::async, [deadline, say = std::move(say), ended = ended_.get_future()] {
        if (ended.wait_until(deadline) == std::future_status::ready) return;
        const auto said = std::async(std::launch::async, say);
        said.wait_for(kLastWords);
        std::_Exit(EXIT_SUCCESS);
      });
}

}  // namespace waystation::server
