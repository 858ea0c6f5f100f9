// Limits on open sockets: total, per user, per address.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "admission/address.hpp"
#include "admission/refusal.hpp"
#include "base/result.hpp"

namespace waystation {

/// 0 switches a limit off.
struct ConnectionLimits {
  std::uint32_t max_connections = 10000;
  std::uint32_t max_connections_per_user = 16;
  std::uint32_t max_connections_per_address = 64;
};

/// Permission for one open socket: reserved before the socket is adopted, released after it is
/// closed. Move-only. The destructor releases it, on any thread, and may run after that of Limits.
class Permit {
 public:
  Permit() noexcept = default;
  Permit(Permit&& other) noexcept;
  Permit& operator=(Permit&& other) noexcept;
  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;
  ~Permit() { release(); }

  /// Releases the permit. May be called again.
  void release() noexcept;

  /// The client address that it counts for; null: none, or already released.
  const Address* address() const noexcept {
    return counts_ && address_ != nullptr ? &address_->first : nullptr;
  }

  /// Whether the permit is held.
  explicit operator bool() const noexcept { return counts_ != nullptr; }

 private:
  friend class Limits;
  struct Counts;

  // Pointers to entries of the counts. An entry is not erased while a permit counts in it.
  std::shared_ptr<Counts> counts_;
  std::pair<const std::string, std::uint64_t>* user_ = nullptr;  // null: anonymous
  std::pair<const Address, std::uint64_t>* address_ = nullptr;   // null: not counted
};

/// Counts the permits. Any thread; the lock is held for a few look-ups only.
class Limits {
 public:
  explicit Limits(const ConnectionLimits& limits);

  /// Reserves a permit atomically in all three counts, so that a burst cannot exceed a limit. An
  /// empty `user` is anonymous and is not counted per user. Without `address` it is not counted per
  /// address.
  ///
  /// Refused with 503 full, or 429 too_many; the detail names the limit.
  Result<Permit, Refusal> reserve(std::string_view user, const std::optional<Address>& address);

  /// Applies to later calls of reserve(). Open sockets stay open.
  void set(const ConnectionLimits& limits) noexcept;

  /// The number of permits held.
  std::uint64_t total() const noexcept;

 private:
  std::shared_ptr<Permit::Counts> counts_;
};

}  // namespace waystation
