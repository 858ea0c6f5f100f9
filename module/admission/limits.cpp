#include "admission/limits.hpp"

#include <map>
#include <mutex>
#include <utility>

namespace waystation {

struct Place::Book {
  mutable std::mutex mutex;  // guards all below
  ConnectionLimits limits;
  std::uint64_t in_all = 0;
  std::map<std::string, std::uint64_t, std::less<>> per_user;
  std::map<Address, std::uint64_t> per_address;
};

namespace {

template <typename Map, typename Name>
std::uint64_t count(const Map& map, const Name& name) noexcept {
  const auto entry = map.find(name);
  return entry == map.end() ? 0 : entry->second;
}

template <typename Map>
void take_off(Map& map, typename Map::value_type& entry) noexcept {
  if (--entry.second == 0) map.erase(map.find(entry.first));
}

Refusal too_many(std::string_view whose, std::string_view key, std::uint32_t limit) {
  return {429, "too_many",
          std::string(whose) + " has " + std::to_string(limit) + " sockets open, as many as " +
              std::string(key) + " allows"};
}

}  // namespace

Place::Place(Place&& other) noexcept
    : book_(std::move(other.book_)), user_(other.user_), address_(other.address_) {}

Place& Place::operator=(Place&& other) noexcept {
  if (this != &other) {
    give_back();
    book_ = std::move(other.book_);
    user_ = other.user_;
    address_ = other.address_;
  }
  return *this;
}

void Place::give_back() noexcept {
  const auto book = std::move(book_);
  if (!book) return;
  const std::lock_guard lock(book->mutex);
  --book->in_all;
  if (user_ != nullptr) take_off(book->per_user, *user_);
  if (address_ != nullptr) take_off(book->per_address, *address_);
}

Limits::Limits(const ConnectionLimits& limits) : book_(std::make_shared<Place::Book>()) {
  book_->limits = limits;
}

std::variant<Place, Refusal> Limits::reserve(std::string_view user,
                                             const std::optional<Address>& address) {
  const std::lock_guard lock(book_->mutex);
  const ConnectionLimits& limits = book_->limits;
  if (limits.max_connections != 0 && book_->in_all >= limits.max_connections) {
    return Refusal{503,
                   "full",
                   "the relay holds " + std::to_string(limits.max_connections) +
                       " sockets, as many as max_connections allows; try again later",
                   {{"Retry-After", "5"}}};
  }
  if (!user.empty() && limits.max_connections_per_user != 0 &&
      count(book_->per_user, user) >= limits.max_connections_per_user) {
    return too_many("this user", "max_connections_per_user", limits.max_connections_per_user);
  }
  if (address && limits.max_connections_per_address != 0 &&
      count(book_->per_address, *address) >= limits.max_connections_per_address) {
    return too_many("this address", "max_connections_per_address",
                    limits.max_connections_per_address);
  }
  // What can fail for want of memory comes first; at worst it leaves an empty count behind, which
  // the next place under that name takes over.
  Place place;  // holds nothing until its book is set
  if (!user.empty()) place.user_ = &*book_->per_user.try_emplace(std::string(user), 0).first;
  if (address) place.address_ = &*book_->per_address.try_emplace(*address, 0).first;
  if (place.user_ != nullptr) ++place.user_->second;
  if (place.address_ != nullptr) ++place.address_->second;
  ++book_->in_all;
  place.book_ = book_;
  return place;
}

void Limits::set(const ConnectionLimits& limits) noexcept {
  const std::lock_guard lock(book_->mutex);
  book_->limits = limits;
}

std::uint64_t Limits::in_all() const noexcept {
  const std::lock_guard lock(book_->mutex);
  return book_->in_all;
}

}  // namespace waystation
