#include "cluster/engine_error.hpp"

#include "base/error.hpp"

namespace waystation {
namespace {

constexpr std::size_t kMaxShown = 160;

struct Advice {
  std::string_view error;  // how it begins
  std::string_view text;
};

constexpr std::string_view kRights = "give its user the rights that the shipped redis.conf names";

// The last one is for all other errors.
constexpr std::array<Advice, EngineErrorLog::kKinds> kAdvice{{
    {"OOM", "raise its maxmemory, or free memory there"},
    {"MISCONF", "it cannot save its data: free its disk, or set stop-writes-on-bgsave-error no"},
    {"NOPERM", kRights},
    {"ERR The user executing the script can't", kRights},  // Redis 7.0, of a command in a script
    {"NOREPLICAS", "it has fewer replicas than min-replicas-to-write: start one, or change that"},
    {"", ""},
}};

std::size_t kind_of(std::string_view error) noexcept {
  std::size_t kind = 0;
  while (!error.starts_with(kAdvice[kind].error)) ++kind;
  return kind;
}

/// The text without what it may repeat of a command, and without the hash of the script.
std::string without_arguments(std::string_view error) {
  error = error.substr(0, error.find(" script: "));
  // "ERR unknown command 'x', with args beginning with: …"
  error = error.substr(0, error.find(" with args"));
  // The names of all channels and keys: see ChannelNames.
  constexpr std::string_view kPrefix = "ws1:";
  std::string text;
  for (;;) {
    const auto at = error.find(kPrefix);
    text += error.substr(0, at);
    if (at == std::string_view::npos) return text;
    text += kPrefix;
    error.remove_prefix(at);
    const auto end = error.find_first_of(" '\"`,");
    if (end == std::string_view::npos) return text;
    error.remove_prefix(end);
  }
}

}  // namespace

std::string describe_engine_error(std::string_view error) {
  auto text = "the server answered " + in_quotes(without_arguments(error), kMaxShown);
  const auto advice = kAdvice[kind_of(error)].text;
  if (!advice.empty()) text.append("; ").append(advice);
  return text;
}

bool EngineErrorLog::take(std::string_view error, std::int64_t now_ms) noexcept {
  auto& next_ms = next_ms_[kind_of(error)];
  if (now_ms < next_ms) return false;
  next_ms = now_ms + kIntervalMs;
  return true;
}

bool ConnectionProblemLog::take(std::string_view problem, std::int64_t now_ms) {
  if (now_ms >= interval_end_ms_) {
    interval_end_ms_ = now_ms + kIntervalMs;
    lines_ = 0;
  }
  if (lines_ == kMaxLines || (lines_ != 0 && last_ == problem)) return false;
  last_ = problem;
  ++lines_;
  return true;
}

}  // namespace waystation
