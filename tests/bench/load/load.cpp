#include "load.hpp"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <ctime>
#include <span>
#include <stdexcept>
#include <system_error>

#include "token.hpp"

namespace waystation::load {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kTickNs = 5'000'000;
// How long what was sent may take to arrive once nothing more is sent, and sockets to open.
constexpr std::int64_t kPatienceNs = 30 * kSecond;
// How long is waited for what should not come.
constexpr std::int64_t kSurplusNs = kSecond / 10;
constexpr std::uint32_t kThousand = 1000;

std::int64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

double seconds(std::int64_t ns) {
  return static_cast<double>(ns) / kSecond;
}

std::string digits(std::uint32_t value) {
  std::string text(Pattern::kPairDigits, '0');
  write_digits(text.data(), value, text.size());
  return text;
}

/// The value of a message: a JSON string of `bytes` bytes that says which message it is.
std::string value_format(std::uint32_t bytes) {
  constexpr std::size_t known = 2 + Pattern::kNumberDigits + 1 + Pattern::kPairDigits;
  std::string filler;
  constexpr std::string_view words = " and so it was said, word for word,";
  while (known + filler.size() < bytes) filler += words[filler.size() % words.size()];
  return "\"#-@" + filler + "\"";
}

std::string sent_format(std::uint32_t bytes) {
  return R"({"message": )" + value_format(bytes) + R"(, "to_user": "b@"})";
}

std::vector<Pattern> reply_patterns(const LoadOptions& options) {
  const auto value = value_format(options.bytes);
  std::vector<Pattern> patterns;
  if (options.reply == Reply::as_sent) {
    patterns.emplace_back(sent_format(options.bytes));
    return patterns;
  }
  for (const std::string space : {"", " "}) {
    const auto name = [&](const char* text) { return "\"" + std::string(text) + "\":" + space; };
    const auto message = "{" + name("message") + value;
    patterns.emplace_back(options.route == Route::chat ? message + "}"
                                                       : "{" + name("event") + message + "," +
                                                             space + name("group") + "\"a@_b@\"}}");
  }
  return patterns;
}

double own_cpu_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return of(use.ru_utime) + of(use.ru_stime);
}

}  // namespace

Load::Load(const LoadOptions& options)
    : options_(options),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      buffer_(1 << 20),
      pairs_(options.pairs + options.idle / 2 + options.stalled),
      idle_pairs_(options.idle / 2),
      frame_(sent_format(options.bytes)),
      stalled_frame_(sent_format(options.stalled_bytes)),
      replies_(reply_patterns(options)) {
  if (epoll_ < 0) throw std::system_error(errno, std::system_category(), "epoll_create1");
  for (std::uint32_t i = 0; i < pairs_.size(); ++i) {
    auto& pair = pairs_[i];
    pair.index = i;
    pair.sender.pair = pair.receiver.pair = i;
    pair.sender.is_sender = true;
    pair.sent_at.resize(options_.window);
    pair.is_stalled = i >= options_.pairs + idle_pairs_;
  }
}

Load::~Load() {
  ::close(epoll_);
}

LoadReport Load::run() {
  report_.resident_kib_before = process_use(options_.pid).resident_kib;
  open_all();
  report_.resident_kib_open = process_use(options_.pid).resident_kib;
  if (options_.serve_idle) serve_each_once();
  if (options_.pairs != 0 && options_.seconds > 0) measure();
  settle();
  return std::move(report_);
}

// ---- opening

void Load::open_all() {
  const auto sockets = static_cast<std::uint32_t>(2 * pairs_.size());
  const auto start = now_ns();
  for (std::uint32_t i = 0; i < std::min(options_.parallel, sockets); ++i) open_next();
  run_until(start + kPatienceNs + sockets * (kSecond / 100), [&] { return opened_ == sockets; });
  if (opened_ != sockets) {
    throw std::runtime_error("only " + std::to_string(opened_) + " of " + std::to_string(sockets) +
                             " sockets were opened in time");
  }
  report_.sockets = sockets;
  report_.connect_seconds = seconds(now_ns() - start);
  if (sockets >= 2 * kThousand) {
    report_.first_thousand_seconds = seconds(opened_at_[kThousand - 1] - start);
    report_.last_thousand_seconds =
        seconds(opened_at_[sockets - 1] - opened_at_[sockets - 1 - kThousand]);
  }
}

void Load::open_next() {
  if (opening_ == 2 * pairs_.size()) return;
  auto& pair = pairs_[opening_ / 2];
  const bool is_sender = opening_ % 2 == 0;
  ++opening_;
  auto& socket = is_sender ? pair.sender : pair.receiver;
  const auto number = digits(pair.index);
  const auto user = (is_sender ? "a" : "b") + number;
  // The original has no users; where they are not known, the parameter is ignored.
  const auto target = is_sender || options_.route == Route::chat
                          ? "/ws/chat/a" + number + "_b" + number + "/?user=" + user
                          : "/push/" + user + "/";
  const auto fields =
      options_.token_key.empty()
          ? std::string()
          : "Authorization: Bearer " + sign_token(options_.token_key, user) + "\r\n";
  socket.connect(epoll_, options_.server, target, fields, is_sender || !pair.is_stalled);
  check(socket);
}

void Load::on_open(Socket& socket) {
  ++opened_;
  opened_at_.push_back(now_ns());
  if (pairs_[socket.pair].is_stalled && !socket.is_sender) socket.stop_reading();
  open_next();
}

// ---- messages

bool Load::matches(std::string_view text, std::uint64_t number, std::uint32_t pair) {
  if (replies_.size() > 1) {
    std::erase_if(replies_, [&](Pattern& reply) { return reply.fill(number, pair) != text; });
    return !replies_.empty();
  }
  return !replies_.empty() && replies_.front().fill(number, pair) == text;
}

void Load::on_text(Socket& socket, std::string_view text) {
  auto& pair = pairs_[socket.pair];
  if (pair.is_stalled) return;
  const auto number = socket.received++;
  if (number >= pair.sent || !matches(text, number, pair.index)) {
    throw std::runtime_error("pair " + std::to_string(pair.index) +
                             (socket.is_sender ? ", sender" : ", receiver") + ": text number " +
                             std::to_string(number) + " of " + std::to_string(pair.sent) +
                             " is not what was sent: " + std::string(text.substr(0, 200)));
  }
  if (!socket.is_sender && is_measuring_) {
    report_.latency.add(
        static_cast<std::uint64_t>(now_ns() - pair.sent_at[number % options_.window]));
  }
}

std::uint64_t Load::completed(const Pair& pair) const noexcept {
  return options_.route == Route::push ? pair.receiver.received
                                       : std::min(pair.sender.received, pair.receiver.received);
}

std::uint64_t Load::completed_in_all() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& pair : pairs_) sum += completed(pair);
  return sum;
}

void Load::send_message(Pair& pair, std::int64_t at) {
  pair.sent_at[pair.sent % options_.window] = at;
  frame_.append_to(pair.sender.out(), pair.sent++, pair.index);
}

void Load::refill(Pair& pair) {
  if (!is_sending_ || pair.index >= options_.pairs || options_.rate > 0) return;
  const auto in_flight = pair.sent - completed(pair);
  if (in_flight >= options_.window) return;
  const auto now = now_ns();
  for (auto left = options_.window - in_flight; left != 0; --left) send_message(pair, now);
  pair.sender.flush();
}

void Load::pace(std::int64_t now) {
  if (!is_sending_ || options_.rate <= 0) return;
  const auto due = static_cast<std::uint64_t>(seconds(now - pace_start_) * options_.rate);
  for (; paced_ < due; ++paced_) {
    auto& pair = pairs_[paced_ % options_.pairs];
    if (pair.sent - completed(pair) >= options_.window) {
      ++report_.late;
      continue;
    }
    // Counted from when it should have gone out: a server that makes us wait does not gain by it.
    send_message(pair, pace_start_ + static_cast<std::int64_t>(static_cast<double>(paced_) /
                                                               options_.rate * kSecond));
    pair.sender.flush();
  }
}

void Load::pace_stalled(std::int64_t now) {
  if (options_.stalled == 0 || !is_sending_) return;
  if (stalled_start_ == 0) stalled_start_ = now;
  const auto due =
      static_cast<std::uint64_t>(seconds(now - stalled_start_) * options_.stalled_rate);
  for (; stalled_sent_ < due; ++stalled_sent_) {
    for (auto i = options_.pairs + idle_pairs_; i < pairs_.size(); ++i) {
      auto& pair = pairs_[i];
      stalled_frame_.append_to(pair.sender.out(), pair.sent++, pair.index);
      pair.sender.flush();
    }
  }
}

// ---- the run

void Load::check(const Socket& socket) const {
  if (socket.state() != Socket::State::failed) return;
  const auto& pair = pairs_[socket.pair];
  if (pair.is_stalled && !socket.is_sender) return;
  throw std::runtime_error("pair " + std::to_string(socket.pair) +
                           (socket.is_sender ? ", sender: " : ", receiver: ") + socket.failure());
}

void Load::run_events(std::int64_t until_ns) {
  std::array<epoll_event, 512> events;
  auto wait = std::clamp<std::int64_t>(until_ns - now_ns(), 0, kTickNs);
  if (is_sending_ && options_.rate > 0) {
    const auto next = pace_start_ + static_cast<std::int64_t>(static_cast<double>(paced_ + 1) /
                                                              options_.rate * kSecond);
    wait = std::clamp<std::int64_t>(next - now_ns(), 0, wait);
  }
  const timespec timeout{0, static_cast<long>(wait)};
  const int count =
      epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &timeout, nullptr);
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    auto& socket = *static_cast<Socket*>(event.data.ptr);
    socket.on_event(event.events, buffer_, *this);
    check(socket);
    refill(pairs_[socket.pair]);
  }
  if (is_sending_) {
    const auto now = now_ns();
    pace(now);
    pace_stalled(now);
  }
}

template <typename Done>
void Load::run_until(std::int64_t deadline_ns, Done done) {
  while (!done() && now_ns() < deadline_ns) run_events(deadline_ns);
}

void Load::serve_each_once() {
  const auto first = options_.pairs;
  const auto last = options_.pairs + idle_pairs_;
  const auto now = now_ns();
  auto next = first;
  std::uint32_t served = first;
  run_until(now + kPatienceNs + idle_pairs_ * (kSecond / 100), [&] {
    while (served < next && completed(pairs_[served]) == 1) ++served;
    for (; next < last && next < served + options_.parallel; ++next) {
      send_message(pairs_[next], now_ns());
      pairs_[next].sender.flush();
    }
    return served == last;
  });
  if (served != last) {
    throw std::runtime_error("only " + std::to_string(served - first) + " of " +
                             std::to_string(idle_pairs_) + " idle pairs were served in time");
  }
}

void Load::measure() {
  const auto start = now_ns();
  is_sending_ = true;
  pace_start_ = start;
  for (auto& pair : pairs_) refill(pair);
  const auto in_seconds = [](double s) { return static_cast<std::int64_t>(s * kSecond); };
  run_until(start + in_seconds(options_.warmup_seconds), [] { return false; });

  const auto before = completed_in_all();
  const auto use = process_use(options_.pid);
  const auto own = own_cpu_seconds();
  report_.late = 0;
  is_measuring_ = true;
  const auto from = now_ns();
  run_until(from + in_seconds(options_.seconds),
            [&] { return report_.latency.count() >= options_.max_messages; });
  const auto to = now_ns();
  is_measuring_ = false;
  is_sending_ = false;

  report_.messages = completed_in_all() - before;
  report_.seconds = seconds(to - from);
  const auto use_after = process_use(options_.pid);
  report_.server_cpu_seconds = use_after.cpu_seconds - use.cpu_seconds;
  report_.generator_cpu_seconds = own_cpu_seconds() - own;
}

void Load::settle() {
  const auto is_settled = [this] {
    return std::ranges::all_of(pairs_, [this](const Pair& pair) {
      return pair.is_stalled || completed(pair) == pair.sent;
    });
  };
  run_until(now_ns() + kPatienceNs, is_settled);
  if (!is_settled()) throw std::runtime_error("not every message arrived");
  run_until(now_ns() + kSurplusNs, [] { return false; });
  report_.messages_in_all = completed_in_all();
  report_.resident_kib_after = process_use(options_.pid).resident_kib;
  for (const auto& pair : pairs_) {
    if (pair.is_stalled && pair.receiver.state() == Socket::State::failed) ++report_.stalled_ended;
  }
}

}  // namespace waystation::load
