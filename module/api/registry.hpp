// The registry of relays, by ids that are never reused.
#pragma once

#include <cstdint>
#include <memory>

namespace waystation {

class Relay;

/// A web server's handlers hold an id instead of a pointer. A handler that starts after its relay
/// was freed finds nothing instead of freed memory. One registry per process; it is never
/// destroyed. Any thread.
namespace registry {

/// An id for a new relay, never 0.
std::uint32_t next_id();
void insert(std::uint32_t id, std::shared_ptr<Relay> relay);
/// The relay, or null after remove(). The pointer keeps the relay alive.
std::shared_ptr<Relay> find(std::uint32_t id);
/// Removes the relay. Null if it is not in the registry.
std::shared_ptr<Relay> remove(std::uint32_t id);

}  // namespace registry
}  // namespace waystation
