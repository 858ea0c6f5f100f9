#include "api/registry.hpp"

#include <mutex>
#include <unordered_map>
#include <utility>

namespace waystation::registry {
namespace {

struct Registry {
  std::mutex mutex;  // guards the other members
  std::uint32_t last_id = 0;
  std::unordered_map<std::uint32_t, std::shared_ptr<Relay>> relays;
};

Registry& the_registry() {
  // Never destroyed: a thread of the web server may use it while the process exits.
  static auto* const registry = std::make_unique<Registry>().release();
  return *registry;
}

}  // namespace

std::uint32_t next_id() {
  auto& registry = the_registry();
  const std::lock_guard lock(registry.mutex);
  return ++registry.last_id;
}

void insert(std::uint32_t id, std::shared_ptr<Relay> relay) {
  auto& registry = the_registry();
  const std::lock_guard lock(registry.mutex);
  registry.relays.emplace(id, std::move(relay));
}

std::shared_ptr<Relay> find(std::uint32_t id) {
  auto& registry = the_registry();
  const std::lock_guard lock(registry.mutex);
  const auto found = registry.relays.find(id);
  return found == registry.relays.end() ? nullptr : found->second;
}

std::shared_ptr<Relay> remove(std::uint32_t id) {
  auto& registry = the_registry();
  const std::lock_guard lock(registry.mutex);
  auto node = registry.relays.extract(id);
  return node.empty() ? nullptr : std::move(node.mapped());
}

}  // namespace waystation::registry
