// Where a connection to the engine goes.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "cluster/engine_address.hpp"
#include "cluster/resolver.hpp"

namespace waystation {

/// Finds the server that a connection should be made to, at each attempt anew. The loop's thread
/// only.
class EngineLocator {
 public:
  struct Location {
    SocketAddress address;
    std::string name;  // for a log line: "10.0.0.5:6379"
  };

  class Client {
   public:
    /// The location, or the problem as a clause. Not called after cancel().
    virtual void on_located(const Result<Location, std::string>& location) noexcept = 0;
    /// The primary is now at `name` (see Location). A client that is connected to another server
    /// should connect again. Called between watch() and unwatch(), outside of locate().
    virtual void on_moved(std::string_view) noexcept {}

   protected:
    ~Client() = default;
  };

  virtual ~EngineLocator() = default;

  /// Calls on_located() once, inside this call or later. A client waits for one answer at a time.
  /// Throws std::bad_alloc and std::system_error, and the client is not called.
  virtual void locate(Client& client) = 0;
  /// The client does not want the answer any more. No effect where it does not wait.
  virtual void cancel(Client& client) noexcept = 0;
  /// Reports moves to the client until unwatch(). Throws std::bad_alloc.
  virtual void watch(Client&) {}
  virtual void unwatch(Client&) noexcept {}
};

/// Fixed hosts, of which each attempt gets the next address: all addresses of a host, then the next
/// host, then from the beginning. For one client at a time.
class FixedLocator final : public EngineLocator, private Resolver::Client {
 public:
  /// `resolver` must outlive it. `hosts` is not empty.
  FixedLocator(Resolver& resolver, std::vector<EngineHost> hosts)
      : resolver_(resolver), hosts_(std::move(hosts)) {}
  ~FixedLocator() override { resolver_.cancel(*this); }

  void locate(EngineLocator::Client& client) override;
  void cancel(EngineLocator::Client& client) noexcept override;

 private:
  void on_resolved(const Resolver::Addresses& addresses) noexcept override;
  void answer_next() noexcept;
  void move_on() noexcept { host_ = (host_ + 1) % hosts_.size(); }

  Resolver& resolver_;
  std::vector<EngineHost> hosts_;
  std::size_t host_ = 0;                  // the one that is tried
  std::vector<SocketAddress> addresses_;  // of that host, still to be tried, the next one last
  EngineLocator::Client* client_ = nullptr;
};

}  // namespace waystation
