// How many sockets may be open: in all, per user, per address.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "admission/address.hpp"
#include "admission/refusal.hpp"

namespace waystation {

/// 0 switches a limit off.
struct ConnectionLimits {
  std::uint32_t max_connections = 10000;
  std::uint32_t max_connections_per_user = 16;
  std::uint32_t max_connections_per_address = 64;
};

/// A socket's place in the limits, held from before it is taken until it is closed. Move-only;
/// given back when destroyed, on any thread, even after the Limits it came from.
class Place {
 public:
  Place() noexcept = default;
  Place(Place&& other) noexcept;
  Place& operator=(Place&& other) noexcept;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { give_back(); }

  /// Gives the place back before its time. Legal twice.
  void give_back() noexcept;

  /// Whether it holds a place.
  explicit operator bool() const noexcept { return book_ != nullptr; }

 private:
  friend class Limits;
  struct Book;

  // The book's own entries, which stay where they are as long as somebody is counted in them.
  std::shared_ptr<Book> book_;
  std::pair<const std::string, std::uint64_t>* user_ = nullptr;  // null: anonymous
  std::pair<const Address, std::uint64_t>* address_ = nullptr;   // null: not counted
};

/// Counts the places. Every function may be called from any thread; a lock is held for a few
/// look-ups only.
class Limits {
 public:
  explicit Limits(const ConnectionLimits& limits);

  /// Reserves a place, in all three counts or in none, so that a burst cannot overshoot. `user`
  /// empty: anonymous, counted in all and per address only. `address` nothing: not counted per
  /// address.
  ///
  /// Refused with 503 full and Retry-After, or 429 too_many, whose detail names the limit.
  std::variant<Place, Refusal> reserve(std::string_view user,
                                       const std::optional<Address>& address);

  /// From now on. Sockets that are open stay open.
  void set(const ConnectionLimits& limits) noexcept;

  /// Places held now.
  std::uint64_t in_all() const noexcept;

 private:
  std::shared_ptr<Place::Book> book_;
};

}  // namespace waystation
