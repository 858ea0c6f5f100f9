#include "api/handover.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <future>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "api/relay.hpp"

namespace waystation {
namespace {

int option_of(int socket, int option) noexcept {
  int value = -1;
  socklen_t size = sizeof value;
  return getsockopt(socket, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

/// What is wrong with a socket that came with HERE, or empty.
std::string_view problem_with_socket(int socket, bool is_pumped) noexcept {
  const int domain = option_of(socket, SO_DOMAIN);
  if (domain < 0) return "the descriptor is no socket";
  if (is_pumped && domain != AF_UNIX) return "a pumped connection needs a unix socket";
  if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX) {
    return "the descriptor is a socket of another kind than TCP and unix";
  }
  return {};
}

/// Throws std::invalid_argument, or std::system_error.
FileDescriptor duplicate_listener(int descriptor) {
  if (option_of(descriptor, SO_DOMAIN) != AF_UNIX ||
      option_of(descriptor, SO_TYPE) != SOCK_SEQPACKET ||
      option_of(descriptor, SO_ACCEPTCONN) != 1) {
    throw std::invalid_argument("descriptor " + std::to_string(descriptor) +
                                ": not a door; allowed: a unix socket of type SOCK_SEQPACKET that "
                                "listens");
  }
  FileDescriptor listener(fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (!listener) throw std::system_error(errno, std::system_category(), "descriptor");
  // accept() must never wait, also where another process takes what epoll reported.
  const int flags = fcntl(listener.get(), F_GETFL);
  if (flags < 0 || fcntl(listener.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    throw std::system_error(errno, std::system_category(), "descriptor");
  }
  return listener;
}

}  // namespace

struct Handover::Place {
  std::shared_ptr<const Ask> ask;
  Entry entry;
};

std::string_view handover_result_name(HandoverResult result) noexcept {
  switch (result) {
    case HandoverResult::handed:
      return "handed";
    case HandoverResult::pumped:
      return "pumped";
    case HandoverResult::refused:
      return "refused";
    case HandoverResult::unavailable:
      break;
  }
  return "unavailable";
}

bool Handover::listen(int descriptor) {
  auto listener = duplicate_listener(descriptor);
  {
    const MutexLock lock(start_mutex_);
    if (!worker_) worker_ = std::make_unique<Dispatcher>(0, "waystation-door", [this] { work(); });
  }
  const auto shared = std::make_shared<FileDescriptor>(std::move(listener));
  const auto result = std::make_shared<std::promise<void>>();
  auto opened = result->get_future();
  DoorOwner& owner = *this;
  if (!relay_.service().post([this, &owner, shared, result] {
        try {
          doors_.reserve(doors_.size() + 1);
          doors_.push_back(
              std::make_unique<Door>(relay_.service().loop(), owner, std::move(*shared)));
          result->set_value();
        } catch (...) {
          result->set_exception(std::current_exception());
        }
      })) {
    return false;
  }
  opened.get();
  return true;
}

void Handover::stop() {
  doors_.clear();
  // The thread works once more before it ends.
  if (worker_) worker_->stop(std::chrono::milliseconds(0));
}

void Handover::decide(Door& door, std::uint64_t asker, std::shared_ptr<const Ask> ask) {
  {
    const MutexLock lock(mutex_);
    decisions_.push_back({&door, asker, std::move(ask)});
  }
  worker_->wake();
}

void Handover::withdraw(const Door& door, std::uint64_t asker) noexcept {
  const MutexLock lock(mutex_);
  const auto found = std::find_if(decisions_.begin(), decisions_.end(), [&](const Decision& one) {
    return one.door == &door && one.asker == asker;
  });
  if (found != decisions_.end()) decisions_.erase(found);
}

void Handover::take(std::shared_ptr<void> place, FileDescriptor socket, bool is_pumped,
                    std::string early) {
  {
    const MutexLock lock(mutex_);
    arrivals_.push_back({std::static_pointer_cast<Place>(std::move(place)), std::move(socket),
                         is_pumped, std::move(early)});
  }
  worker_->wake();
}

/// Does all that waits. Clients that were admitted come before those that ask.
void Handover::work() noexcept {
  for (;;) {
    try {
      if (auto arrival = next_arrival()) {
        take_or_count(*arrival);
      } else if (auto waiting = next_decision()) {
        decide(*waiting);
      } else {
        return;
      }
    } catch (const std::bad_alloc&) {
      // An asker's connection ends by its deadline.
    }
  }
}

std::optional<Handover::Arrival> Handover::next_arrival() {
  const MutexLock lock(mutex_);
  if (arrivals_.empty()) return std::nullopt;
  std::optional<Arrival> next(std::move(arrivals_.front()));
  arrivals_.pop_front();
  return next;
}

std::optional<Handover::Decision> Handover::next_decision() {
  const MutexLock lock(mutex_);
  if (decisions_.empty()) return std::nullopt;
  std::optional<Decision> next(std::move(decisions_.front()));
  decisions_.pop_front();
  return next;
}

void Handover::decide(Decision& waiting) {
  const Relay::Use use(relay_);
  if (!use) return;
  HandoverDecision answer;
  try {
    answer = decision(waiting.ask);
  } catch (const std::bad_alloc&) {
    // Small enough to be made, or the asker's connection ends by its deadline.
    answer = refused(waiting.ask->request(), {RefusalCode::internal, "out of memory"});
  }
  relay_.service().post([door = waiting.door, asker = waiting.asker, answer = std::move(answer)] {
    door->answer(asker, answer);
  });
}

void Handover::take_or_count(Arrival& arrival) noexcept {
  try {
    take(arrival);
  } catch (const std::bad_alloc&) {
    on_unavailable("out of memory", true);  // the socket closes
  }
}

void Handover::take(Arrival& arrival) {
  const auto& request = arrival.place->ask->request();
  auto& socket = arrival.socket;
  if (const auto problem = problem_with_socket(socket.get(), arrival.is_pumped); !problem.empty()) {
    return on_unavailable(problem, true);
  }
  const auto refuse_stopping = [&](int descriptor) {
    send_reply(descriptor,
               to_reply(request, relay_.refuse_admitted(request, {RefusalCode::stopping})));
    on_unavailable("the relay stops", false);
  };
  const Relay::Use use(relay_);
  if (!use) return refuse_stopping(socket.get());
  auto& entry = arrival.place->entry;
  auto adopted = AdoptedSocket::from(socket, relay_.descriptor_reserve());
  if (!adopted) {
    const auto& failure = adopted.error();
    const auto answered = relay_.refuse_adoption(request, failure, std::move(entry.session.user));
    const bool is_full = failure.cause == AdoptionFailure::Cause::exhausted;
    if (is_full) send_reply(socket.get(), to_reply(request, answered));
    return on_unavailable(failure.detail, failure.cause == AdoptionFailure::Cause::unsupported);
  }
  if (!relay_.open(*adopted, std::move(entry), std::move(arrival.early))) {
    return refuse_stopping(adopted->get());
  }
  count(arrival.is_pumped ? HandoverResult::pumped : HandoverResult::handed);
}

HandoverDecision Handover::decision(std::shared_ptr<const Ask> ask) {
  const auto& request = ask->request();
  if (const auto refusal = relay_.refuse_asker(*request.handed_over)) {
    return refused(request, *refusal);
  }
  auto verdict = relay_.admit(request);
  if (std::holds_alternative<Declined>(verdict)) {
    return refused(request, {RefusalCode::not_found});
  }
  if (const auto* answered = std::get_if<Answered>(&verdict)) {
    return {nullptr, refuse_message(answered->code, answered->response)};
  }
  return {std::make_shared<Place>(Place{std::move(ask), std::move(std::get<Entry>(verdict))}), {}};
}

HandoverDecision Handover::refused(const Request& request, const Refusal& refusal) {
  if (refusal.code == RefusalCode::bad_handover && warnings_.is_due()) {
    relay_.log(WAYSTATION_LOG_WARNING,
               "handover: an asker was refused: " + refusal.log_detail +
                   "; module/HANDOVER.md describes the messages, and the next warning is a minute "
                   "away");
  }
  const auto answered = relay_.refuse_upgrade(request, refusal);
  return {nullptr, refuse_message(answered.code, answered.response)};
}

std::string Handover::refuse(const Refusal& refusal) {
  return refused(Request{}, refusal).refusal;
}

void Handover::on_unavailable(std::string_view why, bool is_fault) noexcept {
  count(HandoverResult::unavailable);
  const auto level = is_fault && warnings_.is_due() ? WAYSTATION_LOG_WARNING : WAYSTATION_LOG_DEBUG;
  if (!relay_.logs(level)) return;
  try {
    std::string line = "handover: no connection was taken: ";
    relay_.log(level, line.append(why));
  } catch (const std::bad_alloc&) {
    // Out of memory: drop the log line.
  }
}

}  // namespace waystation
