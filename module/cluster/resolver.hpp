// Addresses of host names, without waiting on the relay's thread.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.hpp"
#include "base/result.hpp"
#include "cluster/engine_address.hpp"
#include "reactor/loop.hpp"
#include "reactor/task_queue.hpp"

namespace waystation {

/// An address that connect(2) takes.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  int family() const noexcept { return storage.ss_family; }
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
};

/// Looks up host names, one after the other, on a thread that the first name starts.
/// Every function is for the loop's thread.
class Resolver {
 public:
  /// The addresses in the order in which they should be tried; never empty. Or the problem as a
  /// clause: "redis.example: Name or service not known".
  using Addresses = Result<std::vector<SocketAddress>, std::string>;

  class Client {
   public:
    /// Not called after cancel().
    virtual void on_resolved(const Addresses& addresses) noexcept = 0;

   protected:
    ~Client() = default;
  };

  /// `loop` must outlive the resolver. Throws std::system_error where no descriptor can be had.
  explicit Resolver(Loop& loop);
  /// Waits for the look-up that is under way, at most as long as the system's resolver does (see
  /// resolv.conf(5), 10 s by default). No client may wait any more.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// Calls on_resolved() once: inside this call for paths and numeric addresses, else later on the
  /// loop's thread. A client waits for one answer at a time. Throws std::bad_alloc and
  /// std::system_error, and the client is not called.
  void resolve(const EngineHost& host, Client& client);
  /// No effect where the client does not wait.
  void cancel(const Client& client) noexcept;

  /// How many names are being looked up. A name that several clients ask for, or the same one again
  /// after cancel(), is looked up once.
  std::size_t pending() const noexcept { return pending_.size(); }

 private:
  struct Waiting {
    EngineHost host;
    Client* client;
  };

  void run();
  bool take(EngineHost& host);
  void answer(const EngineHost& host, const Addresses& addresses) noexcept;

  Loop& loop_;
  TaskQueue tasks_;                  // answers for the loop's thread
  std::vector<Waiting> waiting_;     // the loop's thread only
  std::vector<EngineHost> pending_;  // likewise: those of which no answer has come
  Mutex mutex_;
  Condition wake_;
  std::deque<EngineHost> lookups_ WAYSTATION_GUARDED_BY(mutex_);
  bool stopping_ WAYSTATION_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace waystation
