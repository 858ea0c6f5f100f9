#include "embed/log_limiter.hpp"

#include <algorithm>
#include <utility>

namespace waystation::server {
namespace {

constexpr std::size_t kMaxNameBytes = 128;
constexpr std::string_view kOthers = "other kinds of lines";

std::string_view event_of(std::string_view text) {
  return text.substr(0, std::min(text.find(':'), kMaxNameBytes));
}

/// The event with its reason: "<event>: <reason>; <details> (client …)". A client can vary the
/// details at will.
std::string_view reason_of(std::string_view text) {
  return text.substr(0, std::min(text.find_first_of(";(", event_of(text).size()), kMaxNameBytes));
}

}  // namespace

std::vector<LogLimiter::Suppressed> LogLimiter::end_intervals(Clock::time_point now) {
  std::vector<Suppressed> result;
  const auto is_over = [&](const Kind& kind) { return now - kind.began >= kInterval; };
  for (const auto& kind : kinds_) {
    if (!is_over(kind) || kind.lines <= kLines) continue;
    result.push_back({kind.level, kind.name, kind.lines - kLines});
  }
  std::erase_if(kinds_, is_over);
  return result;
}

bool LogLimiter::allows(LogLevel level, std::string_view text, Clock::time_point now) {
  const auto event = event_of(text);
  // A debug line explains a refusal, an error frame or a close. One reason must not hide others.
  auto name = level == LogLevel::debug ? reason_of(text) : event;
  const auto find = [&] {
    return std::ranges::find_if(
        kinds_, [&](const Kind& kind) { return kind.level == level && kind.name == name; });
  };
  auto kind = find();
  if (kind == kinds_.end() && name != event) {
    const auto reasons = std::ranges::count_if(kinds_, [&](const Kind& other) {
      return other.level == level && event_of(other.name) == event;
    });
    if (reasons >= kMaxReasons) {
      name = event;
      kind = find();
    }
  }
  if (kind == kinds_.end() && kinds_.size() >= kMaxKinds) {
    name = kOthers;
    kind = find();
  }
  if (kind == kinds_.end()) {
    kind = kinds_.insert(kinds_.end(), {level, std::string{name}, now, 0});
  }
  return ++kind->lines <= kLines;
}

}  // namespace waystation::server
