// Which relays there are, by numbers that are never used twice.
#pragma once

#include <cstdint>
#include <memory>

namespace waystation {

class Relay;

/// What a web server's handlers hold instead of a pointer: a handler may still be about to start
/// when its relay has gone, and then finds nothing instead of freed memory. One for the process,
/// living as long as it does. Any thread.
namespace registry {

/// A number for a relay to come; never 0.
std::uint32_t next_id();
void insert(std::uint32_t id, std::shared_ptr<Relay> relay);
/// Null once it was taken out. Who holds the pointer keeps the relay alive.
std::shared_ptr<Relay> find(std::uint32_t id);
/// Takes it out; null where it was not there.
std::shared_ptr<Relay> take(std::uint32_t id);

}  // namespace registry
}  // namespace waystation
