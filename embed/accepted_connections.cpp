#include "embed/accepted_connections.hpp"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace waystation::server {
namespace {

constinit AcceptedConnections accepted_connections;

// IPv4 addresses are mapped to IPv6, so that both spellings of an address are equal.
constexpr std::array<unsigned char, 16> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

}  // namespace

/// FNV-1a.
AcceptedConnections::Hash AcceptedConnections::hash_of(const std::array<unsigned char, 16>& address,
                                                       std::uint16_t port) noexcept {
  Hash hash = 2166136261U;
  const auto add = [&hash](unsigned byte) { hash = (hash ^ byte) * 16777619U; };
  for (const auto byte : address) add(byte);
  add(port >> 8U);
  add(port & 0xFFU);
  return std::max(hash, Hash{1});
}

AcceptedConnections::Hash AcceptedConnections::hash_of(const sockaddr_storage& peer) noexcept {
  auto address = kMapped;
  if (peer.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &peer, sizeof v4);
    std::memcpy(address.data() + 12, &v4.sin_addr, 4);
    return hash_of(address, ntohs(v4.sin_port));
  }
  if (peer.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &peer, sizeof v6);
    std::memcpy(address.data(), &v6.sin6_addr, 16);
    return hash_of(address, ntohs(v6.sin6_port));
  }
  return 0;
}

AcceptedConnections::Hash AcceptedConnections::hash_of(const char* address,
                                                       std::uint16_t port) noexcept {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const auto length = std::strcspn(address, "%");  // without an IPv6 scope
  if (length >= text.size()) return 0;
  std::memcpy(text.data(), address, length);
  auto bytes = kMapped;
  const bool is_address = inet_pton(AF_INET, text.data(), bytes.data() + 12) == 1 ||
                          inet_pton(AF_INET6, text.data(), bytes.data()) == 1;
  return is_address ? hash_of(bytes, port) : 0;
}

void AcceptedConnections::record(int descriptor, const sockaddr_storage& peer) noexcept {
  const auto hash = hash_of(peer);
  const auto index = static_cast<std::size_t>(descriptor);
  const std::lock_guard lock{mutex_};
  if (index >= kNumbers) {
    is_incomplete_ = true;
    return;
  }
  auto& number = numbers_[index];
  const auto link = static_cast<std::uint32_t>(index + 1);
  if (number.hash != 0) {
    if (number.next != 0) at(number.next).previous = number.previous;
    (number.previous != 0 ? at(number.previous).next : first_[number.hash % kSlots]) = number.next;
  }
  number = {hash, 0, 0};
  if (hash == 0) return;
  auto& first = first_[hash % kSlots];
  if (first != 0) at(first).previous = link;
  number.next = first;
  first = link;
}

int AcceptedConnections::find(const char* address, std::uint16_t port) noexcept {
  const auto hash = hash_of(address, port);
  if (hash == 0) return -1;
  const std::lock_guard lock{mutex_};
  if (is_incomplete_) return -1;
  std::uint32_t found = 0;
  for (auto link = first_[hash % kSlots]; link != 0; link = at(link).next) {
    if (at(link).hash != hash) continue;
    if (found != 0) return -1;
    found = link;
  }
  return static_cast<int>(found) - 1;
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
  // Not accept4(), which ThreadSanitizer watches: it cannot see CivetWeb's locks.
  const auto descriptor = static_cast<int>(::syscall(SYS_accept4, listener, &peer, &length, 0));
  if (descriptor < 0) return descriptor;
  waystation::server::accepted_connections.record(descriptor, peer);
  if (address != nullptr && size != nullptr) {
    std::memcpy(address, &peer, std::min<std::size_t>({*size, length, sizeof peer}));
    *size = length;
  }
  return descriptor;
}
