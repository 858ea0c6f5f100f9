#include "admission/limits.hpp"

#include <map>
#include <utility>

#include "base/mutex.hpp"

namespace waystation {

struct Permit::Counts {
  explicit Counts(const ConnectionLimits& configured) : limits(configured) {}

  mutable Mutex mutex;
  ConnectionLimits limits WAYSTATION_GUARDED_BY(mutex);
  std::uint64_t total WAYSTATION_GUARDED_BY(mutex) = 0;
  std::map<std::string, std::uint64_t, std::less<>> per_user WAYSTATION_GUARDED_BY(mutex);
  std::map<Address, std::uint64_t> per_address WAYSTATION_GUARDED_BY(mutex);
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
  return {RefusalCode::too_many, std::string(whose) + " has " + std::to_string(limit) +
                                     " sockets open, as many as " + std::string(key) + " allows"};
}

}  // namespace

Permit::Permit(Permit&& other) noexcept
    : counts_(std::move(other.counts_)), user_(other.user_), address_(other.address_) {}

Permit& Permit::operator=(Permit&& other) noexcept {
  if (this != &other) {
    release();
    counts_ = std::move(other.counts_);
    user_ = other.user_;
    address_ = other.address_;
  }
  return *this;
}

void Permit::release() noexcept {
  const auto counts = std::move(counts_);
  if (!counts) return;
  const MutexLock lock(counts->mutex);
  --counts->total;
  if (user_ != nullptr) take_off(counts->per_user, *user_);
  if (address_ != nullptr) take_off(counts->per_address, *address_);
}

Limits::Limits(const ConnectionLimits& limits)
    : counts_(std::make_shared<Permit::Counts>(limits)) {}

Result<Permit, Refusal> Limits::reserve(std::string_view user,
                                        const std::optional<Address>& address) {
  const MutexLock lock(counts_->mutex);
  const ConnectionLimits limits = counts_->limits;
  if (limits.max_connections != 0 && counts_->total >= limits.max_connections) {
    return Refusal{RefusalCode::full,
                   "the relay holds " + std::to_string(limits.max_connections) +
                       " sockets, as many as max_connections allows; try again later"};
  }
  if (!user.empty() && limits.max_connections_per_user != 0 &&
      count(counts_->per_user, user) >= limits.max_connections_per_user) {
    return too_many("this user", "max_connections_per_user", limits.max_connections_per_user);
  }
  if (address && limits.max_connections_per_address != 0 &&
      count(counts_->per_address, *address) >= limits.max_connections_per_address) {
    return too_many("this address", "max_connections_per_address",
                    limits.max_connections_per_address);
  }
  // Allocations come first. If one throws, at most a count of 0 remains, which the next permit for
  // that key reuses.
  Permit permit;  // holds nothing until counts_ is set
  if (!user.empty()) permit.user_ = &*counts_->per_user.try_emplace(std::string(user), 0).first;
  if (address) permit.address_ = &*counts_->per_address.try_emplace(*address, 0).first;
  if (permit.user_ != nullptr) ++permit.user_->second;
  if (permit.address_ != nullptr) ++permit.address_->second;
  ++counts_->total;
  permit.counts_ = counts_;
  return permit;
}

void Limits::set(const ConnectionLimits& limits) noexcept {
  const MutexLock lock(counts_->mutex);
  counts_->limits = limits;
}

std::uint64_t Limits::total() const noexcept {
  const MutexLock lock(counts_->mutex);
  return counts_->total;
}

}  // namespace waystation
