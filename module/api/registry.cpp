#include "api/registry.hpp"

#include <unordered_map>
#include <utility>

#include "base/mutex.hpp"

namespace waystation::registry {
namespace {

struct Registry {
  Mutex mutex;
  std::uint32_t last_id WAYSTATION_GUARDED_BY(mutex) = 0;
  std::unordered_map<std::uint32_t, std::shared_ptr<Relay>> relays WAYSTATION_GUARDED_BY(mutex);
};

Registry& the_registry() {
  // Never destroyed: a thread of the web server may use it while the process exits.
  static auto* const registry = std::make_unique<Registry>().release();
  return *registry;
}

}  // namespace

std::uint32_t next_id() {
  auto& registry = the_registry();
  const MutexLock lock(registry.mutex);
  return ++registry.last_id;
}

void insert(std::uint32_t id, std::shared_ptr<Relay> relay) {
  auto& registry = the_registry();
  const MutexLock lock(registry.mutex);
  registry.relays.emplace(id, std::move(relay));
}

std::shared_ptr<Relay> find(std::uint32_t id) {
  auto& registry = the_registry();
  const MutexLock lock(registry.mutex);
  const auto found = registry.relays.find(id);
  return found == registry.relays.end() ? nullptr : found->second;
}

std::shared_ptr<Relay> remove(std::uint32_t id) {
  auto& registry = the_registry();
  const MutexLock lock(registry.mutex);
  auto node = registry.relays.extract(id);
  return node.empty() ? nullptr : std::move(node.mapped());
}

}  // namespace waystation::registry
