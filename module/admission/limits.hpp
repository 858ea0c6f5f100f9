// How many sockets may be open: in all, per user, per address.
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

/// The right to one open socket, held from before it is adopted until it is closed. Move-only;
/// released when destroyed, on any thread, even after the Limits it came from.
class Permit {
 public:
  Permit() noexcept = default;
  Permit(Permit&& other) noexcept;
  Permit& operator=(Permit&& other) noexcept;
  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;
  ~Permit() { release(); }

  /// Releases it early. Legal twice.
  void release() noexcept;

  /// The client address that it is counted under; null: none, or not held.
  const Address* address() const noexcept {
    return counts_ && address_ != nullptr ? &address_->first : nullptr;
  }

  /// Whether it is held.
  explicit operator bool() const noexcept { return counts_ != nullptr; }

 private:
  friend class Limits;
  struct Counts;

  // Entries of the counts, which stay where they are while a permit is counted in them.
  std::shared_ptr<Counts> counts_;
  std::pair<const std::string, std::uint64_t>* user_ = nullptr;  // null: anonymous
  std::pair<const Address, std::uint64_t>* address_ = nullptr;   // null: not counted
};

/// Counts the permits. Every function may be called from any thread; a lock is held for a few
/// look-ups only.
class Limits {
 public:
  explicit Limits(const ConnectionLimits& limits);

  /// Reserves a permit, in all three counts or in none, so that a burst cannot overshoot. `user`
  /// empty: anonymous, counted in all and per address only. `address` nothing: not counted per
  /// address.
  ///
  /// Refused with 503 full, or 429 too_many; the detail names the limit.
  Result<Permit, Refusal> reserve(std::string_view user, const std::optional<Address>& address);

  /// From now on. Sockets that are open stay open.
  void set(const ConnectionLimits& limits) noexcept;

  /// Permits held now.
  std::uint64_t total() const noexcept;

 private:
  std::shared_ptr<Permit::Counts> counts_;
};

}  // namespace waystation
