#include "cluster/redis_connection.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "cluster/engine_error.hpp"

namespace waystation {
namespace {

constexpr std::size_t kReadBytes = 64U << 10U;
// Memory of the buffer that is kept while it is empty.
constexpr std::size_t kKeptBytes = 64U << 10U;
// More than a heartbeat takes.
constexpr std::size_t kHeartbeatBytes = 64;

std::int64_t steady_us() noexcept {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string text_of_errno(int error) {
  return std::generic_category().message(error);
}

/// The value of a line "<name>:<value>" of INFO; empty: there is none.
std::string_view info_field(std::string_view info, std::string_view name) noexcept {
  while (!info.empty()) {
    const auto end = std::min(info.find('\n'), info.size());
    auto line = info.substr(0, end);
    info.remove_prefix(std::min(end + 1, info.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':') {
      return line.substr(name.size() + 1);
    }
  }
  return {};
}

std::string_view first_word(std::string_view text) noexcept {
  return text.substr(0, text.find(' '));
}

/// Whether an error says that the server is not, or not any more, the one that was logged in to.
bool is_wrong_server(std::string_view error) noexcept {
  constexpr std::array<std::string_view, 6> kCodes{"NOSCRIPT",   "READONLY", "LOADING",
                                                   "MASTERDOWN", "NOAUTH",   "NOREPLICAS"};
  return std::ranges::find(kCodes, first_word(error)) != kCodes.end();
}

std::optional<std::int64_t> to_number(std::string_view text) noexcept {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

RedisConnection::RedisConnection(Loop& loop, EngineLocator& locator, Options options,
                                 Listener& listener)
    : loop_(loop),
      locator_(locator),
      options_(std::move(options)),
      listener_(listener),
      random_(static_cast<std::minstd_rand::result_type>(
          steady_us() ^ static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(this)))),
      flush_(*this, &RedisConnection::flush),
      deadline_(*this, &RedisConnection::on_deadline),
      heartbeat_(*this, &RedisConnection::on_heartbeat_due) {
  locator_.watch(*this);
}

RedisConnection::~RedisConnection() {
  locator_.unwatch(*this);
  locator_.cancel(*this);
  close_socket();
  state_ = State::idle;
  drop_outstanding();
}

void RedisConnection::start() noexcept {
  state_ = State::waiting;
  deadline_.set(loop_.now_ms());
}

void RedisConnection::reconnect(std::string_view reason) noexcept {
  if (state_ == State::idle) return;
  if (state_ != State::waiting) return lose(reason);
  deadline_.set(loop_.now_ms());
}

void RedisConnection::unsubscribe_and_reconnect(std::string_view reason) noexcept {
  constexpr std::string_view kCommand = "UNSUBSCRIBE";
  try {
    unsubscribing_ = reason;
    if (is_ready() && queue(std::span(&kCommand, 1), nullptr, options_.max_out_bytes)) return;
  } catch (const std::bad_alloc&) {
  }
  reconnect(reason);
}

void RedisConnection::on_moved(std::string_view name) noexcept {
  if (server_name_ != name || state_ == State::waiting) reconnect("the primary has moved");
}

// ---- connecting

void RedisConnection::attempt() noexcept {
  state_ = State::locating;
  deadline_.set(loop_.now_ms() + options_.connect_timeout_ms);
  try {
    locator_.locate(*this);
  } catch (const std::exception& error) {
    lose(error.what());
  }
}

void RedisConnection::on_located(
    const Result<EngineLocator::Location, std::string>& location) noexcept {
  if (!location) return lose(location.error());
  try {
    open(*location);
  } catch (const std::exception& error) {
    lose(error.what());
  }
}

void RedisConnection::open(const EngineLocator::Location& location) {
  server_name_ = location.name;
  const auto& address = location.address;
  socket_ =
      FileDescriptor(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_) return lose("no socket: " + text_of_errno(errno));
  if (address.family() != AF_UNIX) {
    const int on = 1;
    (void)setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  const bool is_connected = ::connect(socket_.get(), address.get(), address.size) == 0;
  if (!is_connected && errno != EINPROGRESS) {
    return lose(server_name_ + ": " + text_of_errno(errno));
  }
  state_ = State::connecting;
  watched_ = is_connected ? EPOLLIN : EPOLLOUT;
  if (!loop_.add(socket_.get(), *this, watched_)) {
    const auto error = errno;
    socket_.reset();
    return lose("epoll: " + text_of_errno(error));
  }
  if (is_connected) on_connected();
}

void RedisConnection::on_connected() {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return lose(server_name_ + ": " + text_of_errno(error));
  state_ = State::logging_in;
  reader_.emplace();
  log_in();
  if (state_ == State::logging_in) flush();
}

void RedisConnection::log_in() {
  const auto ask = [this](std::initializer_list<std::string_view> command, LoginStep step) {
    ReplyHandler handler = [this, step](const Reply* reply) {
      if (reply != nullptr) on_login_reply(*reply, step);
    };
    (void)queue(std::span(command.begin(), command.size()), &handler, options_.max_out_bytes);
  };
  if (!options_.password.empty()) {
    if (options_.user.empty()) {
      ask({"AUTH", options_.password}, LoginStep::password);
    } else {
      ask({"AUTH", options_.user, options_.password}, LoginStep::password);
    }
  }
  if (options_.database != 0) ask({"SELECT", std::to_string(options_.database)}, LoginStep::other);
  if (!options_.client_name.empty()) {
    ask({"CLIENT", "SETNAME", options_.client_name}, LoginStep::other);
  }
  ask({"CLIENT", "ID"}, LoginStep::client_id);
  ask({"INFO", "server"}, LoginStep::server_info);
  ask({"ROLE"}, LoginStep::role);
}

void RedisConnection::on_login_reply(const Reply& reply, LoginStep step) {
  if (reply.is_error()) {
    // Some errors repeat the arguments of the command.
    if (step == LoginStep::password) {
      return lose(server_name_ + ": the server refuses the user or password (" +
                  std::string(first_word(reply.text)) + ")");
    }
    return lose(server_name_ + ": " + describe_engine_error(reply.text));
  }
  switch (step) {
    case LoginStep::password:
    case LoginStep::other:
      return;
    case LoginStep::client_id:
      client_id_ = std::to_string(reply.integer);
      return;
    case LoginStep::server_info:
      run_id_ = info_field(reply.as_text(), "run_id");
      version_ = info_field(reply.as_text(), "redis_version");
      return;
    case LoginStep::role:
      break;
  }
  const std::string_view expected = options_.role == Options::Role::primary ? "master" : "sentinel";
  if (reply.elements.empty() || !reply.elements.front().is(expected)) {
    const auto role = reply.elements.empty() ? std::string_view() : reply.elements[0].as_text();
    return lose(server_name_ + ": the server is no " +
                (options_.role == Options::Role::primary ? "primary" : "Sentinel") +
                ", its role is " + in_quotes(role));
  }
  if (run_id_.empty()) return lose(server_name_ + ": the server has no run id");
  become_ready();
}

void RedisConnection::become_ready() noexcept {
  state_ = State::ready;
  ready_ms_ = loop_.now_ms();
  deadline_.set(TimerQueue::kNever);
  on_heartbeat_due();
  if (state_ == State::ready) listener_.on_ready();
}

// ---- losing

void RedisConnection::lose(std::string_view reason) noexcept {
  const bool was_ready = state_ == State::ready;
  if (state_ == State::locating) locator_.cancel(*this);
  close_socket();
  // A server that closes at once what it has accepted is not asked again at once.
  const auto now = loop_.now_ms();
  if (was_ready && now - ready_ms_ >= options_.max_backoff_ms) backoff_ms_ = 0;
  backoff_ms_ = std::clamp(2 * backoff_ms_, options_.min_backoff_ms, options_.max_backoff_ms);
  std::uniform_int_distribution<std::int64_t> jitter(backoff_ms_ / 2, backoff_ms_);
  state_ = State::waiting;
  deadline_.set(now + jitter(random_));
  drop_outstanding();
  listener_.on_lost(reason, was_ready);
}

void RedisConnection::drop_outstanding() noexcept {
  const auto dropped = std::exchange(outstanding_, {});
  for (const auto& entry : dropped) {
    if (entry.handler) entry.handler(nullptr);
  }
}

void RedisConnection::close_socket() noexcept {
  heartbeat_.set(TimerQueue::kNever);
  flush_.set(TimerQueue::kNever);
  if (socket_) loop_.remove(socket_.get(), *this);
  socket_.reset();
  std::string().swap(out_);
  sent_ = 0;
  has_refused_ = false;
  is_heartbeat_due_ = false;
  unsubscribing_.clear();
  clock_offset_ms_.reset();
  round_trip_us_ = 0;
}

// ---- sending

bool RedisConnection::queue(std::span<const std::string_view> arguments, ReplyHandler* handler,
                            std::size_t max_out_bytes, OnError on_error) {
  const auto end = out_.size();
  append_command(out_, arguments);
  if (out_bytes() > max_out_bytes) {
    out_.resize(end);
    has_refused_ = true;
    return false;
  }
  const auto now = loop_.now_ms();
  if (handler != nullptr) {
    try {
      outstanding_.push_back({std::move(*handler), now, on_error});
    } catch (...) {
      out_.resize(end);
      throw;
    }
    if (state_ == State::ready) deadline_.set_sooner(now + options_.reply_timeout_ms);
  }
  flush_.set_sooner(now);
  return true;
}

bool RedisConnection::send(std::span<const std::string_view> arguments, ReplyHandler handler,
                           OnError on_error) {
  return is_ready() && queue(arguments, &handler, options_.max_out_bytes, on_error);
}

bool RedisConnection::change_subscriptions(std::string_view command,
                                           std::span<const std::string_view> channels) {
  if (!is_ready() || !unsubscribing_.empty()) return false;
  std::vector<std::string_view> arguments;
  arguments.reserve(channels.size() + 1);
  arguments.push_back(command);
  arguments.insert(arguments.end(), channels.begin(), channels.end());
  return queue(arguments, nullptr, options_.max_out_bytes);
}

bool RedisConnection::subscribe(std::span<const std::string_view> channels) {
  return change_subscriptions("SUBSCRIBE", channels);
}

bool RedisConnection::unsubscribe(std::span<const std::string_view> channels) {
  return change_subscriptions("UNSUBSCRIBE", channels);
}

void RedisConnection::flush() noexcept {
  if (!socket_ || state_ == State::connecting) return;
  while (sent_ < out_.size()) {
    const auto size = ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size >= 0) {
      sent_ += static_cast<std::size_t>(size);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      // What was sent is removed once it is the larger part, so that each byte moves once.
      if (sent_ > kKeptBytes && sent_ > out_.size() / 2) {
        out_.erase(0, sent_);
        sent_ = 0;
      }
      if (!watch_for(EPOLLIN | EPOLLOUT)) lose("epoll has refused the connection");
      return;
    }
    return lose(text_of_errno(errno));
  }
  if (!watch_for(EPOLLIN)) return lose("epoll has refused the connection");
  on_sent();
}

void RedisConnection::on_sent() noexcept {
  out_.clear();
  sent_ = 0;
  if (out_.capacity() > kKeptBytes) std::string().swap(out_);
  if (std::exchange(has_refused_, false)) listener_.on_drained();
}

bool RedisConnection::watch_for(std::uint32_t events) noexcept {
  if (watched_ == events) return true;
  watched_ = events;
  return loop_.change(socket_.get(), *this, events);
}

// ---- receiving

void RedisConnection::on_events(std::uint32_t events) noexcept {
  try {
    if (state_ == State::connecting) return on_connected();
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive();
    if (socket_ && (events & EPOLLOUT) != 0) flush();
  } catch (const std::exception& error) {
    lose(error.what());
  }
}

void RedisConnection::receive() {
  auto buffer = loop_.read_buffer(kReadBytes);
  const auto size = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
  if (size < 0) return lose(text_of_errno(errno));
  if (size == 0) return lose("the server has closed the connection");
  received_ms_ = loop_.now_ms();
  std::span<const char> bytes = buffer.first(static_cast<std::size_t>(size));
  while (!bytes.empty()) {
    reader_->feed(bytes);
    while (const auto* const reply = reader_->next()) {
      dispatch(*reply);
      // A callback may have lost the connection. A new one is opened in a later round.
      if (!socket_) return;
    }
    if (reader_->has_failed()) return lose(std::string(reader_->problem()));
  }
}

bool RedisConnection::dispatch_push(const Reply& reply) noexcept {
  constexpr std::array<std::pair<std::string_view, Push::Type>, 3> kTypes{
      {{"message", Push::Type::message},
       {"subscribe", Push::Type::subscribed},
       {"unsubscribe", Push::Type::unsubscribed}}};
  if (reply.elements.size() != 3) return false;
  const auto& elements = reply.elements;
  for (const auto& [name, type] : kTypes) {
    if (!elements[0].is(name)) continue;
    const bool is_last = type == Push::Type::unsubscribed && elements[2].integer == 0;
    if (is_last && !unsubscribing_.empty()) {
      lose(std::exchange(unsubscribing_, {}));
      return true;
    }
    listener_.on_push({type, elements[1].as_text(), elements[2].as_text()});
    return true;
  }
  return false;
}

void RedisConnection::dispatch(const Reply& reply) {
  if (options_.kind == Options::Kind::subscriptions && is_ready()) {
    if (dispatch_push(reply)) return;
    if (reply.is_error()) return lose(describe_engine_error(reply.text));
  }
  if (outstanding_.empty()) return lose("the server sent a reply that nothing asked for");
  const auto handler = std::move(outstanding_.front().handler);
  const auto on_error = outstanding_.front().on_error;
  outstanding_.pop_front();
  if (handler) handler(&reply);
  if (!is_ready() || !reply.is_error()) return;
  if (is_wrong_server(reply.text)) return lose(describe_engine_error(reply.text));
  if (on_error == OnError::report) listener_.on_error(reply.text);
}

// ---- time

void RedisConnection::on_deadline() noexcept {
  const auto now = loop_.now_ms();
  switch (state_) {
    case State::idle:
      return;
    case State::waiting:
      return attempt();
    case State::locating:
    case State::connecting:
    case State::logging_in:
      return lose(state_ == State::locating     ? "the server was not found in time"
                  : state_ == State::connecting ? "the connection was not made in time"
                                                : "the server did not answer the login in time");
    case State::ready:
      break;
  }
  if (outstanding_.empty()) return;
  const auto due = std::max(outstanding_.front().sent_ms, received_ms_) + options_.reply_timeout_ms;
  if (due <= now) return lose("the server does not answer");
  deadline_.set(due);
}

void RedisConnection::on_heartbeat_due() noexcept {
  heartbeat_.set(loop_.now_ms() + options_.heartbeat_ms);
  if (is_heartbeat_due_) return;
  const bool asks_time =
      options_.kind == Options::Kind::commands && options_.role == Options::Role::primary;
  const std::string_view command = asks_time ? "TIME" : "PING";
  try {
    ReplyHandler handler = [this, sent_us = steady_us()](const Reply* reply) {
      if (reply != nullptr) on_heartbeat(*reply, sent_us);
    };
    // Also while the buffer is full: only a command with a reply finds a server that hangs.
    is_heartbeat_due_ =
        queue(std::span(&command, 1), &handler, options_.max_out_bytes + kHeartbeatBytes);
  } catch (const std::bad_alloc&) {
    // The next one may have memory.
  }
}

void RedisConnection::on_heartbeat(const Reply& reply, std::int64_t sent_us) noexcept {
  is_heartbeat_due_ = false;
  if (reply.is_error()) return;
  const auto now_us = steady_us();
  if (reply.elements.size() == 2) {
    const auto seconds = to_number(reply.elements[0].as_text());
    const auto micros = to_number(reply.elements[1].as_text());
    if (seconds && micros) {
      // The server has read its clock before now, which is after the loop has read its own.
      clock_offset_ms_ = *seconds * 1000 + *micros / 1000 - now_us / 1000;
    }
  }
  round_trip_us_ = std::max<std::int64_t>(now_us - sent_us, 1);
  listener_.on_round_trip(round_trip_us_);
}

std::optional<std::int64_t> RedisConnection::server_time_ms() const noexcept {
  if (!clock_offset_ms_) return std::nullopt;
  return loop_.now_ms() + *clock_offset_ms_;
}

std::int64_t RedisConnection::waiting_ms() const noexcept {
  return outstanding_.empty() ? 0 : loop_.now_ms() - outstanding_.front().sent_ms;
}

}  // namespace waystation
