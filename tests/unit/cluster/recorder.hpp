// What a connection reports.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cluster/redis_connection.hpp"
#include "unit/cluster/redis_server.hpp"
#include "unit/cluster/test_loop.hpp"

namespace waystation::test {

struct ConnectionRecorder final : RedisConnection::Listener {
  void on_ready() noexcept override {
    ++ready;
    if (when_ready) when_ready();
  }
  void on_lost(std::string_view reason, bool was_ready) noexcept override {
    reasons.emplace_back(reason);
    if (was_ready) ++lost;
    if (when_lost) when_lost();
  }
  void on_push(const RedisConnection::Push& push) noexcept override {
    using Type = RedisConnection::Push::Type;
    const std::string_view type = push.type == Type::message      ? "message"
                                  : push.type == Type::subscribed ? "subscribed"
                                                                  : "unsubscribed";
    pushes.push_back(std::string(type) + " " + std::string(push.channel) + " " +
                     std::string(push.payload));
  }
  void on_drained() noexcept override { ++drained; }
  void on_round_trip(std::int64_t us) noexcept override { round_trips.push_back(us); }

  std::string last_reason() const { return reasons.empty() ? "" : reasons.back(); }

  int ready = 0;
  int lost = 0;  // that had been ready
  int drained = 0;
  std::vector<std::string> reasons;
  std::vector<std::string> pushes;
  std::vector<std::int64_t> round_trips;
  std::function<void()> when_ready, when_lost;
};

/// Options with which no slow machine ends a connection.
inline RedisConnection::Options patient() {
  RedisConnection::Options options;
  options.connect_timeout_ms = options.reply_timeout_ms = 60'000;
  return options;
}

/// A connection to fixed hosts with what it needs.
class Client {
 public:
  using Options = RedisConnection::Options;

  Client(TestLoop& loop, std::vector<EngineHost> hosts, Options options = patient())
      : loop_(loop),
        resolver_(loop),
        locator_(resolver_, std::move(hosts)),
        connection_(std::in_place, loop, locator_, std::move(options), recorder) {
    connection_->start();
  }

  RedisConnection& operator*() noexcept { return *connection_; }
  RedisConnection* operator->() noexcept { return &*connection_; }
  void destroy() { connection_.reset(); }

  bool run_until_ready() {
    return loop_.run_until([&] { return connection_->is_ready(); });
  }

  /// The reply as a line, "(lost)", or "(refused)" where the command was not sent.
  std::string ask(std::initializer_list<std::string_view> arguments) {
    std::optional<std::string> line;
    const bool is_sent = connection_->send(arguments, [&line](const Reply* reply) {
      line = reply == nullptr ? "(lost)" : to_line(*reply);
    });
    if (!is_sent) return "(refused)";
    EXPECT_TRUE(loop_.run_until([&] { return line.has_value(); }));
    return line.value_or("(nothing)");
  }

  ConnectionRecorder recorder;

 private:
  TestLoop& loop_;
  Resolver resolver_;
  FixedLocator locator_;
  std::optional<RedisConnection> connection_;
};

}  // namespace waystation::test
