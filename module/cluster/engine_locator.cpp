#include "cluster/engine_locator.hpp"

#include <utility>

namespace waystation {

void FixedLocator::locate(EngineLocator::Client& client) {
  client_ = &client;
  if (!addresses_.empty()) return answer_next();
  try {
    resolver_.resolve(hosts_[host_], *this);
  } catch (...) {
    client_ = nullptr;
    throw;
  }
}

void FixedLocator::cancel(EngineLocator::Client& client) noexcept {
  if (client_ != &client) return;
  client_ = nullptr;
  resolver_.cancel(*this);
}

void FixedLocator::on_resolved(const Resolver::Addresses& addresses) noexcept {
  if (!addresses) {
    move_on();
    return std::exchange(client_, nullptr)->on_located(addresses.error());
  }
  addresses_.assign(addresses->rbegin(), addresses->rend());
  answer_next();
}

void FixedLocator::answer_next() noexcept {
  const Location location{addresses_.back(), hosts_[host_].describe()};
  addresses_.pop_back();
  if (addresses_.empty()) move_on();
  std::exchange(client_, nullptr)->on_located(location);
}

}  // namespace waystation
