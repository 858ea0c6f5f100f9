#include "embed/exit_deadline.hpp"

#include <cstdlib>
#include <system_error>
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
        std::future<void> said;  // whose destructor would wait for it, and is never reached
        try {
          said = std::async(std::launch::async, say);
          said.wait_for(kLastWords);
        } catch (const std::system_error&) {
          // Not even a thread is left: it ends without a word.
        }
        std::_Exit(EXIT_SUCCESS);
      });
}

}  // namespace waystation::server
