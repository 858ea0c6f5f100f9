// Asks Redis Sentinel where the primary is.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/engine_locator.hpp"
#include "cluster/redis_connection.hpp"

namespace waystation {

/// Finds the primary of one name through any of several Sentinels: one connection asks, another
/// one subscribes to `+switch-master`. Each moves to the next Sentinel when it is lost. Serves any
/// number of clients.
class SentinelLocator final : public EngineLocator {
 public:
  /// `loop` and `resolver` must outlive it. `sentinels` is not empty. Throws std::bad_alloc.
  SentinelLocator(Loop& loop, Resolver& resolver, std::vector<HostPort> sentinels,
                  std::string primary_name);
  ~SentinelLocator() override;

  /// The answer comes as soon as one Sentinel is reached; while none is, each failed attempt is an
  /// answer.
  void locate(Client& client) override;
  void cancel(Client& client) noexcept override;
  void watch(Client& client) override;
  void unwatch(Client& client) noexcept override;

 private:
  /// One of the two connections.
  class Link final : public RedisConnection::Listener {
   public:
    Link(SentinelLocator& owner, Loop& loop, Resolver& resolver, std::vector<HostPort> sentinels,
         RedisConnection::Options::Kind kind);
    void on_ready() noexcept override;
    void on_lost(std::string_view reason, bool was_ready) noexcept override;
    void on_push(const RedisConnection::Push& push) noexcept override;

    RedisConnection& connection() noexcept { return connection_; }

   private:
    SentinelLocator& owner_;
    FixedLocator locator_;
    RedisConnection connection_;
  };

  void ask() noexcept;
  void on_answer(const Reply* reply) noexcept;
  void answer(const Result<Location, std::string>& location) noexcept;
  void on_switch(std::string_view payload) noexcept;

  std::string primary_name_;
  std::vector<Client*> waiting_;
  std::vector<Client*> watching_;
  bool is_asking_ = false;
  std::optional<Link> asker_;
  std::optional<Link> watcher_;
};

/// The locator of one shard. Throws std::bad_alloc.
std::unique_ptr<EngineLocator> make_locator(Loop& loop, Resolver& resolver,
                                            const EngineAddress& address);

}  // namespace waystation
