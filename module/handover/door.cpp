#include "handover/door.hpp"

#include <string.h>  // explicit_bzero
#include <sys/socket.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "handover/packet.hpp"

namespace waystation {
namespace {

// Askers that are accepted at once, while all other sockets wait.
constexpr int kAcceptsPerEvent = 16;
// Time to wait after accept() failed, for example because no descriptor is left.
constexpr std::int64_t kRetryMs = 100;
// What the loop's buffer must hold: one byte more than allowed tells that a message is too long.
constexpr std::size_t kBufferBytes = HandoverLimits::kEarlyBytes + HandoverLimits::kHereHeader + 1;

bool send_message(int socket, std::string_view message) noexcept {
  // It fits the empty buffer of the socket. A unix socket takes a message whole or not at all.
  const auto sent = ::send(socket, message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent == static_cast<ssize_t>(message.size());
}

}  // namespace

/// One connection to the door.
class Door::Asker final : public EventSource, private Timer {
 public:
  Asker(Door& door, std::uint64_t id, FileDescriptor socket)
      : Timer(door.loop_.timers()), door_(door), id_(id), socket_(std::move(socket)) {
    if (!door_.loop_.add(socket_.get(), *this, EPOLLIN)) {
      throw std::system_error(errno, std::system_category(), "epoll_ctl");
    }
    wait(State::asking, kAskMs);
  }
  ~Asker() override {
    door_.loop_.remove(socket_.get(), *this);
    if (state_ == State::deciding) door_.owner_.withdraw(door_, id_);
  }
  Asker(const Asker&) = delete;
  Asker& operator=(const Asker&) = delete;

  std::uint64_t id() const noexcept { return id_; }

  /// May destroy this.
  void answer(HandoverDecision decision) noexcept {
    if (decision.place == nullptr) return refuse(decision.refusal);
    static const auto give = give_message();
    if (!send_message(socket_.get(), give) || !door_.loop_.change(socket_.get(), *this, EPOLLIN)) {
      return fail("the asker ended before GIVE", false);
    }
    place_ = std::move(decision.place);
    wait(State::giving, kHereMs);
  }

 private:
  enum class State : std::uint8_t {
    asking,    // for ASK
    deciding,  // for the decision; nothing is read
    giving,    // for HERE
  };

  /// May destroy this.
  void on_events(std::uint32_t events) noexcept override {
    try {
      switch (state_) {
        case State::asking:
          return read_ask();
        case State::deciding:
          // Epoll reports the end alone.
          if (events != 0) fail("the asker ended before the decision", false);
          return;
        case State::giving:
          return read_here();
      }
    } catch (...) {
      fail("out of memory", false);
    }
  }

  void on_timer() noexcept override {
    switch (state_) {
      case State::asking:
        return fail("ASK did not come in time", true);
      case State::deciding:
        return fail("the decision took too long", false);
      case State::giving:
        return fail("HERE did not come in time", true);
    }
  }

  Packet receive() { return Packet::receive(socket_.get(), door_.loop_.read_buffer(kBufferBytes)); }

  void read_ask() {
    const auto packet = receive();
    if (packet.status == Packet::Status::nothing) return;
    if (packet.status == Packet::Status::ended) return fail("the asker ended before ASK", false);
    if (!packet.descriptors.empty()) {
      explicit_bzero(packet.bytes.data(), packet.bytes.size());
      return refuse(door_.owner_.refuse(bad_handover("a descriptor came with ASK")));
    }
    auto ask = Ask::parse(packet.bytes);
    // Its key: the loop's buffer is used again at some time only.
    explicit_bzero(packet.bytes.data(), packet.bytes.size());
    if (!ask) return refuse(door_.owner_.refuse(ask.error()));
    if (!door_.loop_.change(socket_.get(), *this, 0)) return fail("epoll refuses it", false);
    wait(State::deciding, kDecideMs);
    door_.owner_.decide(door_, id_, std::move(*ask));
  }

  void read_here() {
    auto packet = receive();
    if (packet.status == Packet::Status::nothing) return;
    if (packet.status == Packet::Status::ended) return fail("the asker ended before HERE", false);
    const auto here = Here::parse(packet.bytes);
    if (!here) return fail("HERE is malformed: " + here.error(), true);
    if (packet.is_cut) return fail("HERE came without all of its descriptors", true);
    if (packet.descriptors.size() != 1) {
      return fail("HERE must come with one descriptor, and came with " +
                      std::to_string(packet.descriptors.size()),
                  true);
    }
    door_.owner_.take(std::move(place_), std::move(packet.descriptors.front()), here->is_pumped,
                      std::string(here->early));
    door_.end(*this);
  }

  void wait(State state, std::int64_t ms) noexcept {
    state_ = state;
    Timer::set(door_.loop_.now_ms() + ms);
  }

  /// Destroys this.
  void refuse(std::string_view message) noexcept {
    if (!send_message(socket_.get(), message)) {
      return fail("the asker ended before REFUSE", false);
    }
    door_.owner_.on_refused();
    door_.end(*this);
  }

  /// Destroys this.
  void fail(std::string_view why, bool is_fault) noexcept {
    door_.owner_.on_unavailable(why, is_fault);
    door_.end(*this);
  }

  Door& door_;
  const std::uint64_t id_;
  FileDescriptor socket_;
  State state_ = State::asking;
  std::shared_ptr<void> place_;
};

Door::Door(Loop& loop, DoorOwner& owner, FileDescriptor listener)
    : Timer(loop.timers()), loop_(loop), owner_(owner), listener_(std::move(listener)) {
  if (!loop_.add(listener_.get(), *this, EPOLLIN)) {
    throw std::system_error(errno, std::system_category(), "epoll_ctl");
  }
}

Door::~Door() {
  loop_.remove(listener_.get(), *this);
}

void Door::on_events(std::uint32_t) noexcept {
  for (int i = 0; i < kAcceptsPerEvent; ++i) {
    if (askers_.size() == kMaxAskers) return listen(false);
    if (!accept_one()) return;
  }
}

/// False if none waits, or none can be accepted now.
bool Door::accept_one() noexcept {
  FileDescriptor socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    if (errno == EINTR || errno == ECONNABORTED) return true;
    pause();
    return false;
  }
  const auto id = next_id_++;
  try {
    askers_.emplace(id, std::make_unique<Asker>(*this, id, std::move(socket)));
    return true;
  } catch (const std::exception&) {
    pause();  // no memory
    return false;
  }
}

/// The listener stays readable: without a pause, the loop would spin.
void Door::pause() noexcept {
  listen(false);
  Timer::set(loop_.now_ms() + kRetryMs);
}

void Door::on_timer() noexcept {
  listen(true);
}

void Door::listen(bool is_on) noexcept {
  if (is_on == is_listening_) return;
  // Fails only if memory runs out; the timer tries again.
  if (loop_.change(listener_.get(), *this, is_on ? EPOLLIN : 0U)) {
    is_listening_ = is_on;
  } else {
    Timer::set(loop_.now_ms() + kRetryMs);
  }
}

void Door::answer(std::uint64_t asker, HandoverDecision decision) noexcept {
  const auto found = askers_.find(asker);
  if (found != askers_.end()) found->second->answer(std::move(decision));
}

void Door::end(const Asker& asker) noexcept {
  askers_.erase(asker.id());
  if (Timer::deadline_ms() == TimerQueue::kNever) listen(true);
}

}  // namespace waystation
