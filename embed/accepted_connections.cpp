#include "embed/accepted_connections.hpp"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace waystation::server {
namespace {

constinit AcceptedConnections accepted_connections;

}  // namespace

AcceptedConnections::Peer AcceptedConnections::read(const sockaddr_storage& peer) noexcept {
  Peer result;
  if (peer.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &peer, sizeof v4);
    result.address[10] = result.address[11] = 0xFF;
    std::memcpy(result.address.data() + 12, &v4.sin_addr, 4);
    result.port = ntohs(v4.sin_port);
  } else if (peer.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &peer, sizeof v6);
    std::memcpy(result.address.data(), &v6.sin6_addr, 16);
    result.port = ntohs(v6.sin6_port);
  }
  return result;
}

AcceptedConnections::Peer AcceptedConnections::parse(const char* address,
                                                     std::uint16_t port) noexcept {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const auto length = std::strcspn(address, "%");  // without an IPv6 scope
  if (length >= text.size()) return {};
  std::memcpy(text.data(), address, length);
  Peer result;
  if (inet_pton(AF_INET, text.data(), result.address.data() + 12) == 1) {
    result.address[10] = result.address[11] = 0xFF;
  } else if (inet_pton(AF_INET6, text.data(), result.address.data()) != 1) {
    return {};
  }
  result.port = port;
  return result;
}

void AcceptedConnections::record(int descriptor, const sockaddr_storage& peer) noexcept {
  if (descriptor < 0) return;
  const auto number = static_cast<std::size_t>(descriptor);
  const std::lock_guard lock{mutex_};
  if (number >= peers_.size()) {
    is_complete_ = false;
    return;
  }
  peers_[number] = read(peer);
  end_ = std::max(end_, number + 1);
}

int AcceptedConnections::find(const char* address, std::uint16_t port) noexcept {
  const auto wanted = parse(address, port);
  if (wanted.port == 0) return -1;
  const std::lock_guard lock{mutex_};
  if (!is_complete_) return -1;
  // The connection is open, so its number was not used again: it is among the matches.
  const auto end = peers_.begin() + static_cast<std::ptrdiff_t>(end_);
  const auto first = std::find(peers_.begin(), end, wanted);
  if (first == end || std::find(first + 1, end, wanted) != end) return -1;
  return static_cast<int>(first - peers_.begin());
}

int accepted_descriptor(const mg_connection* connection) noexcept {
  const auto* const request = mg_get_request_info(connection);
  if (request == nullptr) return -1;
  return accepted_connections.find(request->remote_addr,
                                   static_cast<std::uint16_t>(request->remote_port));
}

}  // namespace waystation::server

/// Replaces the C library's function in this process, also for libcivetweb.
extern "C" __attribute__((visibility("default"))) int accept(int listener, sockaddr* address,
                                                             socklen_t* size) {
  sockaddr_storage peer{};
  socklen_t length = sizeof peer;
  const int descriptor =
      ::accept4(listener, reinterpret_cast<sockaddr*>(&peer), &length, 0);  // 0: as accept()
  if (descriptor < 0) return descriptor;
  waystation::server::accepted_connections.record(descriptor, peer);
  if (address != nullptr && size != nullptr) {
    std::memcpy(address, &peer, std::min({*size, length, socklen_t{sizeof peer}}));
    *size = length;
  }
  return descriptor;
}
