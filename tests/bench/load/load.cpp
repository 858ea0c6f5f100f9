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

#include "storm.hpp"
#include "token.hpp"

namespace waystation::load {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kTickNs = 5'000'000;
// The timeout for messages in flight after the last send, and for opening sockets.
constexpr std::int64_t kPatienceNs = 30 * kSecond;
// The time to wait for frames that must not arrive.
constexpr std::int64_t kSurplusNs = kSecond / 10;
constexpr std::uint32_t kThousand = 1000;
// The time in which a stalled receiver that reads again must find its Close.
constexpr std::int64_t kGivenUpNs = 5 * kSecond;
constexpr unsigned kReceiverTooSlow = 4408;
constexpr int kMostEvents = 512;
// Of a storm. Its connects are spread a little, so that no queue of the kernel overflows: a client
// would try again only after a second.
constexpr int kEventsPerRound = 64;
constexpr std::uint32_t kOpensPerRound = 16;

std::int64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

std::int64_t in_ns(double seconds) {
  return static_cast<std::int64_t>(seconds * kSecond);
}

double seconds(std::int64_t ns) {
  return static_cast<double>(ns) / kSecond;
}

/// A user of a pair: twenty characters, more than the small buffer of a std::string holds.
std::string user_format(char side) {
  return side + std::string(13, '0') + "@";
}

std::string group_format() {
  return user_format('a') + "_" + user_format('b');
}

std::string filled(const std::string& format, std::uint32_t pair) {
  return std::string(Pattern(format).fill(0, pair));
}

/// A message's value: a JSON string of `bytes` bytes that contains the message's number.
std::string value_format(std::uint32_t bytes) {
  constexpr std::size_t known = 2 + Pattern::kNumberDigits + 1 + Pattern::kPairDigits;
  std::string filler;
  constexpr std::string_view words = " and so it was said, word for word,";
  while (known + filler.size() < bytes) filler += words[filler.size() % words.size()];
  return "\"#-@" + filler + "\"";
}

/// `text` as it is on the wire.
std::string packet_of(const LoadOptions& options, const std::string& text) {
  return options.reply == Reply::socket_io ? R"(42["chat",)" + text + "]" : text;
}

std::string sent_format(const LoadOptions& options, std::uint32_t bytes, char to = 'b') {
  return packet_of(options, R"({"message": )" + value_format(bytes) + R"(, "to_user": ")" +
                                user_format(to) + R"("})");
}

std::vector<Pattern> reply_patterns(const LoadOptions& options, std::uint32_t bytes) {
  const auto value = value_format(bytes);
  std::vector<Pattern> patterns;
  if (options.reply == Reply::as_sent) {
    patterns.emplace_back(sent_format(options, bytes));
    return patterns;
  }
  for (const std::string space : {"", " "}) {
    const auto name = [&](const char* text) { return "\"" + std::string(text) + "\":" + space; };
    const auto message = "{" + name("message") + value;
    patterns.emplace_back(options.route == Route::chat
                              ? packet_of(options, message + "}")
                              : "{" + name("event") + message + "," + space + name("group") + '"' +
                                    group_format() + "\"}}");
  }
  return patterns;
}

std::string name_of(const Socket& socket) {
  return "pair " + std::to_string(socket.pair) + (socket.is_sender ? ", sender" : ", receiver");
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

Load::Load(const LoadOptions& options, StormProcess* storm)
    : options_(options),
      storm_(storm),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      buffer_(1 << 20),
      pairs_(options.pairs + options.idle / 2 + options.stalled + options.storm / 2 + 1),
      idle_pairs_(options.idle / 2),
      frame_(sent_format(options, options.bytes)),
      answer_frame_(sent_format(options, options.bytes, 'a')),
      stalled_frame_(sent_format(options, options.stalled_bytes)),
      reply_(reply_patterns(options, options.bytes)),
      stalled_reply_(reply_patterns(options, options.stalled_bytes)) {
  if (epoll_ < 0) throw std::system_error(errno, std::system_category(), "epoll_create1");
  for (std::uint32_t i = 0; i < pairs_.size(); ++i) {
    auto& pair = pairs_[i];
    pair.index = i;
    pair.sender.pair = pair.receiver.pair = i;
    pair.sender.is_sender = true;
    pair.sent_at.resize(options_.window);
    const auto first_stalled = options_.pairs + idle_pairs_;
    pair.is_stalled = i >= first_stalled && i < first_stalled + options_.stalled;
    if (pair.is_stalled) stalled_.push_back(&pair);
    pair.is_storm = i >= first_stalled + options_.stalled && i + 1 < pairs_.size();
  }
}

Load::~Load() {
  ::close(epoll_);
}

LoadReport Load::run() {
  warm_up();
  report_.resident_kib_before = process_use(options_.pids).resident_kib;
  report_.engine_kib_before = process_use(options_.engine_pid).resident_kib;
  open_all();
  pause();
  report_.resident_kib_open = process_use(options_.pids).resident_kib;
  if (options_.serve_idle) serve_each_once();
  if (options_.pairs != 0 && options_.seconds > 0) {
    measure();
  } else {
    // Kept open; the client answers the server's pings.
    run_until(now_ns() + in_ns(options_.seconds), [] { return false; });
  }
  settle();
  return std::move(report_);
}

// ---- opening

void Load::pause() {
  run_until(now_ns() + in_ns(options_.pause_seconds), [] { return false; });
}

/// One pair opens, passes a message and closes: one-time costs of the server do not count for later
/// sockets.
void Load::warm_up() {
  auto& pair = pairs_.back();
  const auto deadline = now_ns() + kPatienceNs;
  open(pair, true);
  open(pair, false);
  run_until(deadline, [&] { return pair.sender.is_ready && pair.receiver.is_ready; });
  if (pair.sender.is_ready && pair.receiver.is_ready) {
    pause();
    send_message(pair, now_ns());
    pair.sender.flush();
    run_until(deadline, [&] { return completed(pair) == 1; });
  }
  if (completed(pair) != 1) throw std::runtime_error("the first pair was not served in time");
  pair.sender.close();
  pair.receiver.close();
  run_until(now_ns() + kSurplusNs, [] { return false; });
}

void Load::open_all() {
  // The idle sockets are opened last, so the standing ones are opened with the sending ones.
  const auto all = static_cast<std::uint32_t>(2 * (pairs_.size() - 1)) - options_.storm / 2 * 2;
  if (options_.standing != 0) open_until(std::min(2 * options_.pairs + options_.standing, all));
  opened_at_.clear();
  opened_end_ = 0;
  const auto sockets = all - opening_;
  const auto use = process_use(options_.pids);
  const auto start = now_ns();
  open_until(all);
  report_.sockets = sockets;
  report_.connect_seconds = seconds(now_ns() - start);
  const auto use_after = process_use(options_.pids);
  report_.connect_cpu_seconds =
      use_after.user_seconds - use.user_seconds + use_after.system_seconds - use.system_seconds;
  if (sockets >= 2 * kThousand) {
    report_.first_thousand_seconds = seconds(opened_at_[kThousand - 1] - start);
    report_.last_thousand_seconds =
        seconds(opened_at_[sockets - 1] - opened_at_[sockets - 1 - kThousand]);
  }
}

/// Opens the next sockets up to `end`, and waits until they are open.
void Load::open_until(std::uint32_t end) {
  opening_end_ = end;
  const auto sockets = end - opening_;
  opened_end_ = opened_at_.size() + sockets;
  opens_due_ = std::min(options_.parallel, sockets);
  run_until(now_ns() + kPatienceNs + sockets * (kSecond / 100),
            [&] { return opened_at_.size() == opened_end_; });
  if (opened_at_.size() != opened_end_) {
    throw std::runtime_error(std::to_string(opened_end_ - opened_at_.size()) + " of " +
                             std::to_string(sockets) + " sockets were not opened in time");
  }
}

bool Load::is_standing(const Pair& pair) const noexcept {
  return 2 * pair.index < 2 * options_.pairs + options_.standing || &pair == &pairs_.back();
}

/// Opens some of the sockets that are due: of a storm, a few in each round.
void Load::open_due() {
  const auto round = is_storm_ ? std::min(opens_due_, kOpensPerRound) : opens_due_;
  for (std::uint32_t i = 0; i < round; ++i) open_next();
  opens_due_ -= round;
}

void Load::open_next() {
  if (opening_ == opening_end_) return;
  auto& pair = pairs_[opening_ / 2];
  open(pair, opening_++ % 2 == 0);
}

void Load::open(Pair& pair, bool sender) {
  auto& socket = sender ? pair.sender : pair.receiver;
  socket.is_ready = false;
  auto server = options_.server;
  if (options_.second_port != 0 && sender == (pair.index % 2 != 0)) {
    server.port = options_.second_port;
  }
  const auto user = filled(user_format(sender ? 'a' : 'b'), pair.index);
  if (!options_.request.empty() && !is_standing(pair)) {
    socket.connect(epoll_, server, options_.request, {}, true, true);
    return look_after(socket);
  }
  // The original has no users; servers without users ignore the parameter.
  const auto group = filled(group_format(), pair.index);
  auto target = sender || options_.route == Route::chat ? "/ws/chat/" + group + "/?user=" + user
                                                        : "/push/" + user + "/";
  if (options_.reply == Reply::socket_io) {
    target = "/socket.io/?EIO=4&transport=websocket&group=" + group;
  }
  std::string fields;
  if (!options_.token_key.empty()) {
    fields = "Authorization: Bearer " + sign_token(options_.token_key, user) + "\r\n";
  }
  if (pair.is_storm) fields += "Sec-WebSocket-Protocol: waystation.v1\r\n";
  socket.connect(epoll_, server, target, fields, sender || !pair.is_stalled);
  look_after(socket);
}

void Load::on_open(Socket& socket) {
  if (options_.reply != Reply::socket_io) on_ready(socket);
}

void Load::on_ready(Socket& socket) {
  socket.is_ready = true;
  auto& pair = pairs_[socket.pair];
  if (pair.is_stalled && !socket.is_sender) stall(pair);
  if (opened_at_.size() == opened_end_) return;  // the first pair, or a reconnect
  opened_at_.push_back(now_ns());
  ++opens_due_;
}

void Load::stall(Pair& pair) {
  pair.receiver.stop_reading();
  pair.has_heard = false;
  pair.reads_again_at = now_ns() + in_ns(options_.stall_seconds);
}

// ---- messages

/// A packet that is no event is a part of the handshake or a ping.
bool Load::on_socket_io_packet(Socket& socket, std::string_view text) {
  if (text.starts_with("42")) return false;
  if (text.starts_with("0{")) {
    socket.out() += client_frame(0x1, "40");
  } else if (text.starts_with("40{")) {
    on_ready(socket);
  } else if (text == "2") {
    ++socket.pings;
    socket.out() += client_frame(0x1, "3");
  } else {
    throw std::runtime_error(name_of(socket) +
                             ": a packet of no known kind: " + std::string(text.substr(0, 200)));
  }
  socket.flush();
  return true;
}

void Load::on_text(Socket& socket, std::string_view text) {
  if (options_.reply == Reply::socket_io && on_socket_io_packet(socket, text)) return;
  auto& pair = pairs_[socket.pair];
  if (pair.is_stalled) return on_stalled_text(socket, text);
  if (pair.is_storm) return on_storm_text(socket, text);
  const auto number = socket.received++;
  if (options_.route == Route::push && socket.is_sender) {
    throw std::runtime_error(name_of(socket) + ": received a message for the push socket: " +
                             std::string(text.substr(0, 200)));
  }
  if (number >= pair.sent || !reply_.matches(text, number, pair.index)) {
    throw std::runtime_error(name_of(socket) + ": text number " + std::to_string(number) + " of " +
                             std::to_string(pair.sent) +
                             " is not what was sent: " + std::string(text.substr(0, 200)));
  }
  if (!socket.is_sender && is_measuring_) {
    report_.latency.add(
        static_cast<std::uint64_t>(now_ns() - pair.sent_at[number % options_.window]));
  }
}

/// The receiver gets consecutive messages, after each reconnect from some number on. The sender
/// gets them too, except those without a receiver: one gap per close of the receiver.
void Load::on_stalled_text(Socket& socket, std::string_view text) {
  auto& pair = pairs_[socket.pair];
  const auto number = stalled_reply_.number_in(text);
  auto& next = socket.is_sender ? pair.next_echo : pair.next_heard;
  const bool may_skip = socket.is_sender || !pair.has_heard;
  if (!number || *number >= pair.sent || *number < next || (*number > next && !may_skip) ||
      !stalled_reply_.matches(text, *number, pair.index)) {
    throw std::runtime_error(name_of(socket) + ", stalled: a text is not the one with number " +
                             std::to_string(next) + ": " + std::string(text.substr(0, 200)));
  }
  if (socket.is_sender && *number > next) ++pair.gaps;
  if (!socket.is_sender) pair.has_heard = true;
  next = *number + 1;
}

void Load::on_storm_text(Socket& socket, std::string_view text) {
  const auto other = filled(user_format(socket.is_sender ? 'b' : 'a'), socket.pair);
  if (!text.starts_with(R"({"presence":{"user":")" + other + '"')) {
    throw std::runtime_error(name_of(socket) + ": received no presence of its other user: " +
                             std::string(text.substr(0, 200)));
  }
  if (socket.received++ == 0) ++stormed_;
}

std::uint64_t Load::completed(const Pair& pair) const noexcept {
  return options_.route == Route::push ? pair.receiver.received
                                       : std::min(pair.sender.received, pair.receiver.received);
}

std::uint64_t Load::completed_in_all() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& pair : pairs_) sum += pair.is_storm ? 0 : completed(pair);
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
  // The first one is due at once.
  const auto due = static_cast<std::uint64_t>(seconds(now - pace_start_) * options_.rate) + 1;
  for (; paced_ < due; ++paced_) {
    auto& pair = pairs_[paced_ % options_.pairs];
    if (pair.sent - completed(pair) >= options_.window) {
      ++report_.late;
      continue;
    }
    // Measured from the scheduled send time: a server gains nothing by delaying the client.
    send_message(pair, pace_start_ + static_cast<std::int64_t>(static_cast<double>(paced_) /
                                                               options_.rate * kSecond));
    pair.sender.flush();
  }
}

void Load::pace_stalled(std::int64_t now) {
  if (stalled_.empty() || !is_sending_) return;
  if (stalled_start_ == 0) stalled_start_ = now;
  for (auto* const pair : stalled_) wake_stalled(*pair, now);
  const auto due =
      static_cast<std::uint64_t>(seconds(now - stalled_start_) * options_.stalled_rate);
  for (; stalled_sent_ < due; ++stalled_sent_) {
    for (auto* const pair : stalled_) {
      stalled_frame_.append_to(pair->sender.out(), pair->sent++, pair->index);
      pair->sender.flush();
    }
  }
}

void Load::wake_stalled(Pair& pair, std::int64_t now) {
  if (!pair.receiver.is_open() || now < pair.reads_again_at) return;
  if (!pair.receiver.is_reading()) return pair.receiver.read_again();
  // The receiver reads, and finds its Close after the data sent before.
  if (now > pair.reads_again_at + kGivenUpNs) {
    throw std::runtime_error(name_of(pair.receiver) +
                             ": did not read for a while, and was not closed");
  }
}

// ---- the run

void Load::look_after(Socket& socket) {
  if (socket.state() != Socket::State::failed) return;
  auto& pair = pairs_[socket.pair];
  if (!pair.is_stalled || socket.is_sender || socket.closed_with() != kReceiverTooSlow) {
    throw std::runtime_error(name_of(socket) + ": " + socket.failure());
  }
  ++pair.ended;
  if (is_sending_) open(pair, false);
}

void Load::run_events(std::int64_t until_ns) {
  open_due();
  std::array<epoll_event, kMostEvents> events;
  auto wait = std::clamp<std::int64_t>(until_ns - now_ns(), 0, kTickNs);
  if (opens_due_ != 0) wait = 0;
  if (is_sending_ && options_.rate > 0) {
    const auto next = pace_start_ + static_cast<std::int64_t>(static_cast<double>(paced_) /
                                                              options_.rate * kSecond);
    wait = std::clamp<std::int64_t>(next - now_ns(), 0, wait);
  }
  const timespec timeout{0, static_cast<long>(wait)};
  const int count =
      epoll_pwait2(epoll_, events.data(),
                   is_storm_ && opens_due_ != 0 ? kEventsPerRound : kMostEvents, &timeout, nullptr);
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    auto& socket = *static_cast<Socket*>(event.data.ptr);
    socket.on_event(event.events, buffer_, *this);
    look_after(socket);
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

/// In each idle pair one user sends, then the other.
void Load::serve_each_once() {
  const auto first = options_.pairs;
  const auto last = options_.pairs + idle_pairs_;
  const auto now = now_ns();
  auto next = first;
  std::uint32_t served = first;
  run_until(now + kPatienceNs + idle_pairs_ * (kSecond / 100), [&] {
    for (auto i = served; i < next; ++i) {
      auto& pair = pairs_[i];
      if (pair.sent != 1 || completed(pair) != 1) continue;
      answer_frame_.append_to(pair.receiver.out(), pair.sent++, pair.index);
      pair.receiver.flush();
    }
    while (served < next && completed(pairs_[served]) == 2) ++served;
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
  for (auto* const pair : stalled_) stall(*pair);
  run_until(start + in_ns(options_.warmup_seconds), [] { return false; });

  const auto before = completed_in_all();
  const auto use = process_use(options_.pids);
  const auto engine = process_use(options_.engine_pid);
  const auto own = own_cpu_seconds();
  report_.late = 0;
  is_measuring_ = true;
  const auto from = now_ns();
  if (storm_ != nullptr) {
    storm_->start();
    run_until(now_ns() + 2 * kPatienceNs, [&] { return storm_->is_done(); });
    if (!storm_->is_done()) throw std::runtime_error("the storm did not end in time");
    report_.storm_seconds = storm_->seconds();
  } else {
    run_until(from + in_ns(options_.seconds),
              [&] { return report_.latency.count() >= options_.max_messages; });
  }
  const auto to = now_ns();
  is_measuring_ = false;
  is_sending_ = false;

  report_.messages = completed_in_all() - before;
  report_.seconds = seconds(to - from);
  const auto use_after = process_use(options_.pids);
  report_.server_user_seconds = use_after.user_seconds - use.user_seconds;
  report_.server_system_seconds = use_after.system_seconds - use.system_seconds;
  report_.engine = process_use(options_.engine_pid);
  report_.engine.user_seconds -= engine.user_seconds;
  report_.engine.system_seconds -= engine.system_seconds;
  report_.generator_cpu_seconds = own_cpu_seconds() - own;
}

double Load::storm(int start) {
  is_storm_ = true;
  const auto sockets = options_.storm / 2 * 2;
  const auto end = static_cast<std::uint32_t>(2 * (pairs_.size() - 1));
  opening_ = end - sockets;
  char byte = 0;
  if (::read(start, &byte, 1) != 1) throw std::runtime_error("it was not started");
  const auto from = now_ns();
  open_until(end);
  run_until(now_ns() + kPatienceNs, [&] { return stormed_ == sockets; });
  if (stormed_ != sockets) throw std::runtime_error("not everyone was told of a presence");
  return seconds(now_ns() - from);
}

void Load::settle() {
  const auto is_settled = [this] {
    return std::ranges::all_of(pairs_, [this](const Pair& pair) {
      return pair.is_stalled || pair.is_storm || completed(pair) == pair.sent;
    });
  };
  run_until(now_ns() + kPatienceNs, is_settled);
  if (!is_settled()) throw std::runtime_error("not every message arrived");
  run_until(now_ns() + kSurplusNs, [] { return false; });
  report_.messages_in_all = completed_in_all();
  report_.resident_kib_after = process_use(options_.pids).resident_kib;
  report_.engine.resident_kib = process_use(options_.engine_pid).resident_kib;
  for (const auto* const pair : stalled_) {
    report_.stalled_ended += static_cast<std::uint32_t>(pair->ended);
    if (pair->ended == 0) throw std::runtime_error("a stalled receiver was never closed");
    // One more may have begun.
    if (pair->gaps > pair->ended + 1) {
      throw std::runtime_error(name_of(pair->sender) + ": received too few of its own messages");
    }
  }
  for (const auto& pair : pairs_) report_.pings += pair.sender.pings + pair.receiver.pings;
}

}  // namespace waystation::load
