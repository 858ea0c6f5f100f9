#include "cluster/engine_settings.hpp"

#include <array>
#include <charconv>
#include <cstdint>
#include <new>
#include <optional>
#include <string_view>
#include <vector>

namespace waystation {
namespace {

constexpr std::uint64_t kMinPubSubBuffer = std::uint64_t{64} << 20;
constexpr std::uint64_t kMaxKeepAlive = 60;

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// The hard limit for subscribers in "normal 0 0 0 slave … pubsub 33554432 8388608 60".
std::optional<std::uint64_t> pubsub_limit(std::string_view value) {
  constexpr std::string_view kClass = "pubsub ";
  const auto at = value.find(kClass);
  if (at == std::string_view::npos) return std::nullopt;
  value.remove_prefix(at + kClass.size());
  return number_of(value.substr(0, value.find(' ')));
}

struct Setting {
  const char* name;
  bool (*is_wrong)(std::string_view value);
  const char* advice;
};

constexpr std::array kSettings{
    Setting{"client-output-buffer-limit",
            [](std::string_view value) {
              const auto limit = pubsub_limit(value);
              return limit && *limit != 0 && *limit < kMinPubSubBuffer;
            },
            "a short burst disconnects this node; set \"pubsub 64mb 16mb 5\""},
    Setting{"tcp-keepalive",
            [](std::string_view value) {
              const auto seconds = number_of(value);
              return seconds && (*seconds == 0 || *seconds > kMaxKeepAlive);
            },
            "a node whose machine is lost stays subscribed for minutes; set 5"},
    Setting{"crash-log-enabled", [](std::string_view value) { return value == "yes"; },
            "a crash report names users and groups; set no"},
    Setting{"maxmemory-policy",
            [](std::string_view value) { return value.starts_with("allkeys-"); },
            "at maxmemory, the server removes the table of nodes; set noeviction"},
};

}  // namespace

void check_engine_settings(RedisConnection& connection,
                           const std::function<void(const std::string& line)>& advise) {
  const auto check = [advise](const Reply& reply) {
    if (reply.is_error()) {
      return advise(
          "settings not checked: the server refuses CONFIG GET; compare them with the "
          "shipped redis.conf");
    }
    const auto values = reply.elements;
    for (const auto& setting : kSettings) {
      for (std::size_t i = 0; i + 1 < values.size(); i += 2) {
        if (!values[i].is(setting.name)) continue;
        const auto value = values[i + 1].as_text();
        if (!setting.is_wrong(value)) continue;
        advise(std::string(setting.name) + " = " + std::string(value) + ": " + setting.advice);
      }
    }
  };
  std::vector<std::string_view> command{"CONFIG", "GET"};
  for (const auto& setting : kSettings) command.emplace_back(setting.name);
  connection.send(command, [check](const Reply* reply) {
    if (reply == nullptr) return;
    try {
      check(*reply);
    } catch (const std::bad_alloc&) {
      // The lines are lost.
    }
  });
}

}  // namespace waystation
