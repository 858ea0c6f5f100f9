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
class SentinelLocator final : public EngineLocator, private Resolver::Client {
 public:
  /// `loop` and `resolver` must outlive it. `sentinels` is not empty. Throws std::bad_alloc.
  SentinelLocator(Loop& loop, Resolver& resolver, std::vector<EngineHost> sentinels,
                  std::string primary_name);
  ~SentinelLocator() override;

  /// The answer comes as soon as one Sentinel is reached; while none is, each failed attempt is an
  /// answer.
  void locate(EngineLocator::Client& client) override;
  void cancel(EngineLocator::Client& client) noexcept override;
  void watch(EngineLocator::Client& client) override;
  void unwatch(EngineLocator::Client& client) noexcept override;

 private:
  using Kind = RedisConnection::Options::Kind;

  /// One of the two connections.
  class Link final : public RedisConnection::Listener {
   public:
    Link(SentinelLocator& owner, Loop& loop, Resolver& resolver, std::vector<EngineHost> sentinels,
         Kind kind);
    void on_ready() noexcept override;
    void on_lost(std::string_view reason, bool was_ready) noexcept override;
    void on_push(const RedisConnection::Push& push) noexcept override;

    RedisConnection& connection() noexcept { return connection_; }

   private:
    SentinelLocator& owner_;
    const Kind kind_;
    FixedLocator locator_;
    RedisConnection connection_;
  };

  void ask() noexcept;
  void on_answer(const Reply* reply);
  void on_resolved(const Resolver::Addresses& addresses) noexcept override;
  void answer(const Result<Location, std::string>& location) noexcept;
  void on_switch(std::string_view payload);

  Resolver& resolver_;
  std::string primary_name_;
  std::vector<EngineLocator::Client*> waiting_;
  std::vector<EngineLocator::Client*> watching_;
  bool is_asking_ = false;
  EngineHost primary_;  // the last answer
  std::optional<Link> asker_;
  std::optional<Link> watcher_;
};

/// The locator of one shard. Throws std::bad_alloc.
std::unique_ptr<EngineLocator> make_locator(Loop& loop, Resolver& resolver,
                                            const EngineAddress& address);

}  // namespace waystation
