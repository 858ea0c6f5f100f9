#include "reactor/slow_connections.hpp"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

namespace waystation {
namespace {

// Bytes of a request that are examined. A longer header counts as incomplete.
constexpr std::size_t kPeekBytes = 16 * 1024;

/// What the web server waits for. A TLS handshake has begun with the server's first bytes.
enum class Waiting : std::uint8_t {
  for_nothing,
  for_first_request,
  for_further_bytes,
  for_acknowledgement
};

struct Slow {
  SlowConnections::Time since;
  Waiting waiting;
  OpenConnection connection;
  // Among those of the same age, the server read from the lowest numbers first.
  auto age() const { return std::tuple(since, connection.descriptor); }
};

/// The connections of one network.
struct Crowd {
  std::size_t count = 0;
  std::deque<Slow> slow;       // the oldest first
  std::size_t incomplete = 0;  // of those, the ones without a first request
};

/// Whether the peer has not acknowledged all that was written.
bool has_unsent_bytes(int fd) noexcept {
  int unsent = 0;
  return ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent > 0;
}

/// Whether the server has sent nothing yet. False if that cannot be told.
bool has_sent_nothing(int fd) noexcept {
  tcp_info info{};
  socklen_t size = sizeof info;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_data_segs_out == 0;
}

/// What the server waits for from the client of a connection.
Waiting waiting_for(int fd, const std::function<bool(std::string_view)>& is_whole,
                    std::vector<char>& buffer) {
  // Whatever else it has sent, a worker may be writing to it.
  if (has_unsent_bytes(fd)) return Waiting::for_acknowledgement;
  const auto size = ::recv(fd, buffer.data(), buffer.size(), MSG_PEEK | MSG_DONTWAIT);
  if (size == 0) return Waiting::for_nothing;  // its peer ended it
  const bool whole = size > 0 && is_whole({buffer.data(), static_cast<std::size_t>(size)});
  if (whole) return Waiting::for_nothing;
  return has_sent_nothing(fd) ? Waiting::for_first_request : Waiting::for_further_bytes;
}

}  // namespace

AddressBytes network_of(AddressBytes address) noexcept {
  constexpr AddressBytes kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  if (!std::equal(address.begin(), address.begin() + 12, kMapped.begin())) {
    std::fill(address.begin() + 8, address.end(), static_cast<unsigned char>(0));
  }
  return address;
}

SlowConnections::Serving::Serving(SlowConnections& owner,
                                  const std::optional<ConnectionEnds>& ends) noexcept
    : owner_(owner), ends_(ends) {
  if (!ends_) return;
  const MutexLock lock(owner_.serving_mutex_);
  next_ = owner_.first_serving_;
  if (next_ != nullptr) next_->previous_ = this;
  owner_.first_serving_ = this;
}

SlowConnections::Serving::~Serving() {
  if (!ends_) return;
  const MutexLock lock(owner_.serving_mutex_);
  if (next_ != nullptr) next_->previous_ = previous_;
  (previous_ != nullptr ? previous_->next_ : owner_.first_serving_) = next_;
}

bool SlowConnections::is_served(const ConnectionEnds& ends) noexcept {
  const MutexLock lock(serving_mutex_);
  for (const auto* serving = first_serving_; serving != nullptr; serving = serving->next_) {
    if (serving->ends_ == ends && !serving->is_waiting_.load(std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

Result<std::size_t, std::error_code> SlowConnections::end(const Server& server, Time now) {
  const MutexLock lock(mutex_);
  const auto listed = open_connections(server.ports, server.workers);
  if (!listed) return listed.error();

  // By time and not by what was listed: another server's connections were not.
  std::erase_if(known_, [&](const auto& entry) { return now - entry.second.seen > kForgetAfter; });
  for (const auto& connection : *listed) {
    known_.try_emplace(connection.identity, Known{now, now}).first->second.seen = now;
  }
  if (listed->size() <= server.workers) return std::size_t{0};

  std::size_t held = 0;
  std::map<AddressBytes, Crowd> crowds;
  std::vector<char> buffer(kPeekBytes);
  for (const auto& connection : *listed) {
    auto& known = known_[connection.identity];
    const bool is_due = now - known.since >= kSlowAfter;
    if (known.stage != Stage::open) {
      // A worker that writes to it waits on.
      if (known.stage == Stage::reading_ended && is_due &&
          has_unsent_bytes(connection.descriptor) && shut_down(connection, SHUT_RDWR)) {
        known.stage = Stage::ended;
      }
      continue;
    }
    ++held;
    if (server.is_exempt(connection.ends.peer)) continue;
    auto& crowd = crowds[network_of(connection.ends.peer)];
    ++crowd.count;
    if (now - known.since < kCrowdedAfter) continue;
    const auto waiting = waiting_for(connection.descriptor, server.is_whole, buffer);
    if (waiting == Waiting::for_first_request) ++crowd.incomplete;
    if (waiting == Waiting::for_first_request || (waiting != Waiting::for_nothing && is_due)) {
      crowd.slow.push_back({known.since, waiting, connection});
    }
  }
  if (held <= server.workers) return std::size_t{0};

  std::size_t ended = 0;
  const auto end_reading = [&](Crowd& crowd, const OpenConnection& connection, Known& known) {
    if (is_served(connection.ends) || !shut_down(connection, SHUT_RD)) return;
    known.stage = Stage::reading_ended;
    known.since = now;
    --crowd.count;
    --held;
    ++ended;
  };
  for (auto& [network, crowd] : crowds) {
    std::ranges::sort(crowd.slow, {}, &Slow::age);
    std::deque<Slow> left;
    for (const auto& slow : crowd.slow) {
      if (slow.waiting == Waiting::for_first_request && crowd.incomplete > server.workers / 2) {
        --crowd.incomplete;
        end_reading(crowd, slow.connection, known_[slow.connection.identity]);
      } else if (now - slow.since >= kSlowAfter) {
        left.push_back(slow);
      }
    }
    crowd.slow = std::move(left);
  }
  while (held > server.workers / 2) {
    const auto first = std::ranges::min_element(crowds, [](const auto& left, const auto& right) {
      const auto& a = left.second;
      const auto& b = right.second;
      if (a.slow.empty() || b.slow.empty()) return !a.slow.empty();
      if (a.count != b.count) return a.count > b.count;
      return a.slow.front().age() < b.slow.front().age();
    });
    if (first == crowds.end() || first->second.slow.empty()) break;
    auto& crowd = first->second;
    const auto connection = crowd.slow.front().connection;
    crowd.slow.pop_front();
    end_reading(crowd, connection, known_[connection.identity]);
  }
  return ended;
}

}  // namespace waystation
