#include "cluster/resolver.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "base/thread.hpp"

namespace waystation {
namespace {

template <typename Address>
SocketAddress as_socket_address(const Address& address) noexcept {
  static_assert(sizeof(Address) <= sizeof(sockaddr_storage));
  SocketAddress made;
  std::memcpy(&made.storage, &address, sizeof address);
  made.size = sizeof address;
  return made;
}

/// Nothing for a name.
std::optional<Resolver::Addresses> without_lookup(const EngineHost& host) {
  if (host.is_path()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (host.host.size() >= sizeof address.sun_path) {
      return Resolver::Addresses(host.host + ": a path of a unix socket has at most " +
                                 std::to_string(sizeof address.sun_path - 1) + " bytes");
    }
    std::ranges::copy(host.host, address.sun_path);
    return Resolver::Addresses(std::vector{as_socket_address(address)});
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(host.port);
  if (inet_pton(AF_INET, host.host.c_str(), &v4.sin_addr) == 1) {
    return Resolver::Addresses(std::vector{as_socket_address(v4)});
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(host.port);
  if (inet_pton(AF_INET6, host.host.c_str(), &v6.sin6_addr) == 1) {
    return Resolver::Addresses(std::vector{as_socket_address(v6)});
  }
  return std::nullopt;
}

struct ListFree {
  void operator()(addrinfo* list) const noexcept { freeaddrinfo(list); }
};

/// Waits for the system's resolver.
Resolver::Addresses look_up(const EngineHost& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(host.host.c_str(), std::to_string(host.port).c_str(), &hints, &found);
  const std::unique_ptr<addrinfo, ListFree> list(found);
  if (error != 0) {
    const std::string problem =
        error == EAI_SYSTEM ? std::generic_category().message(errno) : gai_strerror(error);
    return host.host + ": " + problem;
  }
  std::vector<SocketAddress> addresses;
  for (const auto* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_addrlen > sizeof(sockaddr_storage)) continue;
    auto& address = addresses.emplace_back();
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.size = entry->ai_addrlen;
  }
  if (addresses.empty()) return host.host + ": it has no address";
  return addresses;
}

}  // namespace

Resolver::Resolver(Loop& loop) : loop_(loop) {
  if (!loop_.add(tasks_.descriptor(), tasks_, EPOLLIN)) {
    throw std::system_error(errno, std::system_category(), "epoll_ctl");
  }
}

Resolver::~Resolver() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  loop_.remove(tasks_.descriptor(), tasks_);
}

void Resolver::resolve(const EngineHost& host, Client& client) {
  if (const auto addresses = without_lookup(host)) return client.on_resolved(*addresses);
  waiting_.push_back({host, &client});
  try {
    if (!thread_.joinable()) thread_ = start_thread("waystation-dns", [this] { run(); });
    if (std::ranges::find(pending_, host) != pending_.end()) return;
    pending_.reserve(pending_.size() + 1);
    EngineHost kept = host;
    {
      const MutexLock lock(mutex_);
      lookups_.push_back(host);
    }
    pending_.push_back(std::move(kept));
  } catch (...) {
    cancel(client);
    throw;
  }
  wake_.notify_one();
}

void Resolver::cancel(const Client& client) noexcept {
  std::erase_if(waiting_, [&client](const Waiting& entry) { return entry.client == &client; });
}

void Resolver::answer(const EngineHost& host, const Addresses& addresses) noexcept {
  std::erase(pending_, host);
  // A client may ask again, or cancel for others, inside its call.
  for (;;) {
    const auto found = std::ranges::find(waiting_, host, &Waiting::host);
    if (found == waiting_.end() || std::ranges::find(pending_, host) != pending_.end()) return;
    auto& client = *found->client;
    waiting_.erase(found);
    client.on_resolved(addresses);
  }
}

/// Waits for a host to look up; false: the resolver ends.
bool Resolver::take(EngineHost& host) {
  const MutexLock lock(mutex_);
  while (lookups_.empty() && !stopping_) wake_.wait(mutex_);
  if (stopping_) return false;
  host = std::move(lookups_.front());
  lookups_.pop_front();
  return true;
}

void Resolver::run() {
  EngineHost host;
  while (take(host)) {
    try {
      tasks_.post([this, host, addresses = look_up(host)] { answer(host, addresses); });
    } catch (const std::bad_alloc&) {
      // The clients have a deadline. Their next attempt begins a new look-up.
      tasks_.post_without_memory([this] { pending_.clear(); });
    }
  }
}

}  // namespace waystation
