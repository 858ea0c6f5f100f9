#include "api/streams.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <list>
#include <new>
#include <stdexcept>
#include <thread>
#include <unordered_map>
#include <vector>

#include "api/guarded.hpp"
#include "base/mutex.hpp"

namespace waystation::streams {
namespace {

using Functions = waystation_stream_functions;

struct Made {
  const Functions* functions;
  void* session;
};
using Sessions = std::list<Made>;

struct Registry {
  Mutex use_mutex;
  std::vector<const void*> libraries WAYSTATION_GUARDED_BY(use_mutex);
  Mutex mutex;
  // A thread may have sessions of its own besides that of its connection. There are few.
  std::unordered_map<std::thread::id, Sessions> by_thread WAYSTATION_GUARDED_BY(mutex);
  struct Place {
    std::thread::id thread;
    Sessions::iterator session;
  };
  std::unordered_map<const void*, Place> by_session WAYSTATION_GUARDED_BY(mutex);
};

// Made by the first use(), and null before. Never destroyed: the TLS library frees sessions while
// the process exits.
std::atomic<Registry*> the_registry = nullptr;

Registry& make_registry() {
  static auto* const registry = std::make_unique<Registry>().release();
  the_registry = registry;
  return *registry;
}

void forget(Registry& registry, const void* session) noexcept WAYSTATION_REQUIRES(registry.mutex) {
  const auto found = registry.by_session.find(session);
  if (found == registry.by_session.end()) return;
  const auto of_thread = registry.by_thread.find(found->second.thread);
  of_thread->second.erase(found->second.session);
  if (of_thread->second.empty()) registry.by_thread.erase(of_thread);
  registry.by_session.erase(found);
}

bool is_complete(const Functions* functions) noexcept {
  // Later versions add members at the end.
  constexpr auto kSize = offsetof(Functions, release) + sizeof(Functions::release);
  return functions != nullptr && functions->size >= kSize && functions->library != nullptr &&
         functions->watch != nullptr && functions->is_of != nullptr &&
         functions->descriptor != nullptr && functions->hold != nullptr &&
         functions->unhold != nullptr && functions->begin != nullptr &&
         functions->read != nullptr && functions->write != nullptr &&
         functions->pending != nullptr && functions->held != nullptr && functions->end != nullptr &&
         functions->release != nullptr;
}

/// A session that is worked on by the functions of a web server's glue.
class LentSession final : public TlsSession {
 public:
  explicit LentSession(const Functions& functions) noexcept : functions_(functions) {}
  ~LentSession() override {
    if (object_ != nullptr) functions_.release(object_);
  }

  bool hold(void* session, const char** problem) noexcept {
    object_ = functions_.hold(session, problem);
    return object_ != nullptr;
  }

  void give_back() noexcept override { functions_.unhold(std::exchange(object_, nullptr)); }

  bool begin(int descriptor) noexcept override {
    return functions_.begin(object_, descriptor) == 0;
  }

  Result read(std::span<char> buffer) noexcept override {
    return result_of(functions_.read(object_, buffer.data(), buffer.size()), buffer.size(),
                     Status::ended);
  }

  Result write(std::span<const char> bytes) noexcept override {
    return result_of(functions_.write(object_, bytes.data(), bytes.size()), bytes.size(),
                     bytes.empty() ? Status::ok : Status::broken);
  }

  bool has_pending() const noexcept override { return functions_.pending(object_) != 0; }
  std::size_t held_bytes() const noexcept override { return functions_.held(object_); }
  void end() noexcept override { functions_.end(object_); }

 private:
  /// `zero` is the meaning of 0. More bytes than there is room for would be an error of the glue.
  static Result result_of(std::ptrdiff_t result, std::size_t most, Status zero) noexcept {
    if (result > 0 && static_cast<std::size_t>(result) <= most) {
      return {static_cast<std::size_t>(result), Status::ok};
    }
    switch (result) {
      case WAYSTATION_STREAM_ENDED:
        return {0, zero};
      case WAYSTATION_STREAM_WANT_READ:
        return {0, Status::want_read};
      case WAYSTATION_STREAM_WANT_WRITE:
        return {0, Status::want_write};
      default:
        return {0, Status::broken};
    }
  }

  const Functions& functions_;
  void* object_ = nullptr;  // null: not held
};

}  // namespace

bool use(const Functions* functions) {
  require(is_complete(functions),
          "waystation_stream_functions: a member is missing; all are required");
  auto& registry = make_registry();
  const MutexLock lock(registry.use_mutex);
  auto& libraries = registry.libraries;
  const void* const library = functions->library();
  if (std::ranges::find(libraries, library) != libraries.end()) return false;
  libraries.reserve(libraries.size() + 1);
  if (functions->watch() != 0) {
    throw std::runtime_error("the TLS library: its sessions cannot be watched; free memory");
  }
  libraries.push_back(library);
  return true;
}

void made(const Functions* functions, void* session) noexcept {
  auto* const registry = the_registry.load();
  if (registry == nullptr || functions == nullptr || session == nullptr) return;
  const MutexLock lock(registry->mutex);
  forget(*registry, session);
  const auto thread = std::this_thread::get_id();
  try {
    Sessions made{{functions, session}};
    // A list without a session stays if memory runs out below, for the thread's next one.
    auto& of_thread = registry->by_thread[thread];
    registry->by_session.emplace(session, Registry::Place{thread, made.begin()});
    of_thread.splice(of_thread.end(), made);
  } catch (const std::bad_alloc&) {
    // It is not found later: its connection cannot be adopted.
  }
}

void gone(const void* session) noexcept {
  auto* const registry = the_registry.load();
  if (registry == nullptr) return;
  const MutexLock lock(registry->mutex);
  forget(*registry, session);
}

bool find(const void* connection, waystation_stream& stream) noexcept {
  auto* const registry = the_registry.load();
  if (registry == nullptr) return false;
  waystation_stream whole{};
  {
    const MutexLock lock(registry->mutex);
    const auto of_thread = registry->by_thread.find(std::this_thread::get_id());
    if (of_thread == registry->by_thread.end()) return false;
    const auto found = std::ranges::find_if(of_thread->second, [&](const Made& made) {
      return made.functions->is_of(made.session, connection) != 0;
    });
    if (found == of_thread->second.end()) return false;
    whole.functions = found->functions;
    whole.session = found->session;
  }
  whole.descriptor = whole.functions->descriptor(whole.session);
  write_sized(stream, whole);
  return true;
}

bool is_complete(const waystation_stream* stream) noexcept {
  constexpr auto kSize =
      offsetof(waystation_stream, descriptor) + sizeof(waystation_stream::descriptor);
  return stream != nullptr && stream->size >= kSize && stream->session != nullptr &&
         is_complete(stream->functions);
}

std::unique_ptr<TlsSession> hold(const waystation_stream& stream, const char** problem) {
  auto session = std::make_unique<LentSession>(*stream.functions);
  *problem = "no memory is left";
  if (!session->hold(stream.session, problem)) return nullptr;
  return session;
}

}  // namespace waystation::streams
