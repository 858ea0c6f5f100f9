#include "reactor/slow_connections.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

namespace waystation {
namespace {

// Bytes of a request that are examined. A longer header counts as incomplete.
constexpr std::size_t kPeekBytes = 16 * 1024;

/// The connections of one address.
struct Crowd {
  std::size_t count = 0;
  std::deque<std::pair<std::uint64_t, OpenConnection>> slow;  // since when; the oldest first
};

}  // namespace

std::size_t SlowConnections::end(const Server& server) {
  const MutexLock lock(mutex_);
  const auto call = ++calls_;
  auto open = open_connections(server.ports);

  std::map<ConnectionEnds, Known> known;
  for (const auto& connection : open) {
    const auto before = known_.find(connection.ends);
    known.emplace(connection.ends, before == known_.end() ? Known{call, false} : before->second);
  }
  std::erase_if(open, [&](const auto& connection) { return known[connection.ends].is_ended; });
  known_.swap(known);
  auto held = open.size();
  if (held <= server.workers) return 0;

  std::map<AddressBytes, Crowd> crowds;
  std::vector<char> waiting(kPeekBytes);
  for (const auto& connection : open) {
    if (server.is_exempt(connection.ends.peer)) continue;
    auto& crowd = crowds[connection.ends.peer];
    ++crowd.count;
    const auto since = known_[connection.ends].since;
    if (since == call) continue;
    const auto size =
        ::recv(connection.descriptor, waiting.data(), waiting.size(), MSG_PEEK | MSG_DONTWAIT);
    if (size == 0) continue;  // its peer ended it
    if (size > 0 && server.is_whole({waiting.data(), static_cast<std::size_t>(size)})) continue;
    crowd.slow.emplace_back(since, connection);
  }
  for (auto& [address, crowd] : crowds) {
    // Among those of the same age, the server read from the lowest numbers first.
    std::ranges::sort(crowd.slow, {}, [](const auto& slow) {
      return std::pair(slow.first, slow.second.descriptor);
    });
  }

  std::size_t ended = 0;
  while (held > server.workers / 2) {
    const auto largest = std::ranges::max_element(crowds, {}, [](const auto& entry) {
      return entry.second.slow.empty() ? 0 : entry.second.count;
    });
    if (largest == crowds.end() || largest->second.slow.empty()) break;
    auto& crowd = largest->second;
    const auto connection = crowd.slow.front().second;
    crowd.slow.pop_front();
    if (!end_reading(connection)) continue;
    known_[connection.ends].is_ended = true;
    --crowd.count;
    --held;
    ++ended;
  }
  return ended;
}

}  // namespace waystation
