#include "embed/options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

using namespace waystation::server;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

const Option& option(std::string_view key) {
  const auto* found = find_option(key);
  if (!found) throw std::logic_error{"no option " + std::string{key}};
  return *found;
}

/// The line that refuses `text` for the option; empty where it is taken.
std::string refusal(std::string_view key, std::string_view text) {
  Settings settings;
  try {
    assign(option(key), parse_value(option(key), text, "here"), "here", settings);
  } catch (const ConfigurationError& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST(Options, HoldEveryKeyOfTheContractOnce) {
  std::multiset<std::string_view> keys;
  for (const auto& each : all_options()) keys.insert(each.key);
  const std::multiset<std::string_view> expected{"listen",
                                                 "www",
                                                 "auth",
                                                 "jwt_key_file",
                                                 "jwt_issuer",
                                                 "jwt_audience",
                                                 "identity_header",
                                                 "scopes_header",
                                                 "trusted_proxies",
                                                 "allowed_origins",
                                                 "allowed_hosts",
                                                 "operators",
                                                 "allow_open_network",
                                                 "allow_query_token",
                                                 "max_connections",
                                                 "max_connections_per_user",
                                                 "max_connections_per_address",
                                                 "max_message_bytes",
                                                 "max_queue_bytes",
                                                 "max_total_queue_bytes",
                                                 "messages_per_second",
                                                 "message_burst",
                                                 "busy_poll_microseconds",
                                                 "ping_interval_seconds",
                                                 "audit",
                                                 "audit_retention_days",
                                                 "audit_max_bytes",
                                                 "log_level",
                                                 "log_format"};
  EXPECT_EQ(keys, expected);
}

TEST(Options, HaveTheDefaultsOfTheContract) {
  const Settings settings;
  EXPECT_THAT(settings.listen, ElementsAre("127.0.0.1:8080"));
  EXPECT_EQ(settings.auth, "open");
  EXPECT_EQ(settings.identity_header, "X-Forwarded-User");
  EXPECT_THAT(settings.operators, ElementsAre("127.0.0.0/8", "::1"));
  EXPECT_FALSE(settings.allow_open_network);
  EXPECT_FALSE(settings.allow_query_token);
  EXPECT_EQ(settings.max_connections, 10000);
  EXPECT_EQ(settings.max_connections_per_user, 16);
  EXPECT_EQ(settings.max_connections_per_address, 64);
  EXPECT_EQ(settings.max_message_bytes, 65536);
  EXPECT_EQ(settings.max_queue_bytes, 1048576);
  EXPECT_EQ(settings.max_total_queue_bytes, 268435456);
  EXPECT_EQ(settings.messages_per_second, 50);
  EXPECT_EQ(settings.message_burst, 200);
  EXPECT_EQ(settings.busy_poll_microseconds, 0);
  EXPECT_EQ(settings.ping_interval_seconds, 25);
  EXPECT_EQ(settings.audit, "");
  EXPECT_EQ(settings.audit_retention_days, 30);
  EXPECT_EQ(settings.audit_max_bytes, 67108864);
  EXPECT_EQ(settings.log_level, "info");
  EXPECT_EQ(settings.log_format, "text");
}

TEST(Options, AcceptTheirOwnDefaults) {
  for (const auto& each : all_options()) {
    Settings settings;
    const auto value = value_of(each, Settings{});
    EXPECT_NO_THROW(assign(each, value, "here", settings)) << each.key;
    EXPECT_EQ(value_of(each, settings), value) << each.key;
  }
}

TEST(Options, FitTheLibrarysThirtyTwoBitsWhereItHasThem) {
  for (const auto* key : {"max_connections", "max_connections_per_user",
                          "max_connections_per_address", "messages_per_second", "message_burst",
                          "busy_poll_microseconds", "ping_interval_seconds"}) {
    EXPECT_LE(option(key).highest, 0xFFFFFFFFU) << key;
  }
}

TEST(Options, SayTheirBoundsInTheirWords) {
  for (const auto& each : all_options()) {
    EXPECT_FALSE(each.doc.empty()) << each.key;
    EXPECT_FALSE(each.allowed.empty()) << each.key;
    if (!std::holds_alternative<std::uint64_t Settings::*>(each.field)) continue;
    // One option has a hole behind its 0; its words name the same upper end.
    const auto ends = " to " + std::to_string(each.highest);
    if (each.allowed.starts_with("0, or a whole number from ")) {
      EXPECT_TRUE(each.allowed.ends_with(ends)) << each.key;
      EXPECT_EQ(each.lowest, 0) << each.key;
      continue;
    }
    EXPECT_EQ(each.allowed, "a whole number from " + std::to_string(each.lowest) + ends);
  }
}

TEST(Options, AreNamedAlikeInFlagAndVariable) {
  EXPECT_EQ(option("max_connections_per_user").flag(), "--max-connections-per-user");
  EXPECT_EQ(option("max_connections_per_user").environment(),
            "WAYSTATION_MAX_CONNECTIONS_PER_USER");
  EXPECT_EQ(option("www").environment(), "WAYSTATION_WWW");
}

TEST(Options, ReadNumbersWholeAndInRange) {
  EXPECT_EQ(refusal("max_connections", "0"), "");
  EXPECT_EQ(refusal("max_connections", "10000000"), "");
  for (const auto* text : {"", " 1", "1 ", "+1", "-1", "1.0", "1e3", "0x10", "ten", "10000001",
                           "99999999999999999999999"}) {
    EXPECT_THAT(refusal("max_connections", text), HasSubstr("max_connections = ")) << text;
  }
}

TEST(Options, ReadSwitchesAsTrueOrFalse) {
  for (const auto* text : {"true", "false", "1", "0"}) {
    EXPECT_EQ(refusal("allow_open_network", text), "") << text;
  }
  for (const auto* text : {"", "yes", "TRUE", "2", "true "}) {
    EXPECT_NE(refusal("allow_open_network", text), "") << text;
  }
}

TEST(Options, SplitListsAtCommas) {
  const auto value = parse_value(option("allowed_hosts"), " a.example , b.example,,", "here");
  EXPECT_THAT(std::get<std::vector<std::string>>(value), ElementsAre("a.example", "b.example"));
  EXPECT_TRUE(
      std::get<std::vector<std::string>>(parse_value(option("allowed_hosts"), "", "here")).empty());
}

TEST(Options, RefuseAListForOneWrongEntry) {
  EXPECT_EQ(refusal("operators", "127.0.0.1,::1"), "");
  EXPECT_THAT(refusal("operators", "127.0.0.1,localhost"), HasSubstr("\"localhost\""));
}

TEST(Options, RefuseWhatIsNotAmongTheChoices) {
  EXPECT_EQ(refusal("auth", "Open"), "auth = \"Open\" (here): allowed is open, jwt or header");
  EXPECT_EQ(refusal("log_level", "trace"),
            "log_level = \"trace\" (here): allowed is error, warning, info or debug");
  EXPECT_NE(refusal("log_format", "xml"), "");
  EXPECT_NE(refusal("identity_header", "X Forwarded User"), "");
  EXPECT_NE(refusal("identity_header", ""), "");
  EXPECT_EQ(refusal("scopes_header", ""), "");
}

TEST(Options, RefuseAValueOfAnotherType) {
  Settings settings;
  EXPECT_THROW(assign(option("max_connections"), Value{std::string{"1"}}, "here", settings),
               ConfigurationError);
  EXPECT_THROW(assign(option("listen"), Value{std::string{"127.0.0.1:1"}}, "here", settings),
               ConfigurationError);
  EXPECT_THROW(assign(option("www"), Value{true}, "here", settings), ConfigurationError);
}

TEST(Options, RefuseTextsThatTheLibraryWouldCut) {
  Settings settings;
  EXPECT_THROW(assign(option("www"), Value{std::string{"a\0b", 3}}, "here", settings),
               ConfigurationError);
  EXPECT_THROW(
      assign(option("jwt_audience"), Value{std::vector<std::string>{"a,b"}}, "here", settings),
      ConfigurationError);
}

TEST(Options, KeepTheOldValueWhenTheyRefuse) {
  Settings settings;
  EXPECT_THROW(assign(option("auth"), Value{std::string{"none"}}, "here", settings),
               ConfigurationError);
  EXPECT_EQ(settings.auth, "open");
}

TEST(Options, AreComplainedOfInOneLine) {
  const auto line = refusal("auth", "a\nb\x1b[31m\"");
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
  EXPECT_THAT(line, HasSubstr("\"a\\u000Ab\\u001B[31m\\\"\""));
  EXPECT_LT(refusal("auth", std::string(100'000, 'x')).size(), 300U);
}

TEST(Options, AreWrittenAsToml) {
  EXPECT_EQ(to_toml(Value{true}), "true");
  EXPECT_EQ(to_toml(Value{std::uint64_t{16}}), "16");
  EXPECT_EQ(to_toml(Value{std::string{"a\"\\\x7f"}}), "\"a\\\"\\\\\\u007F\"");
  EXPECT_EQ(to_toml(Value{std::vector<std::string>{}}), "[]");
  EXPECT_EQ(to_toml(Value{std::vector<std::string>{"a", "b"}}), "[\"a\", \"b\"]");
}

TEST(Options, GuessWhatWasMeant) {
  EXPECT_EQ(nearest_key("max_conections"), "max_connections");
  EXPECT_EQ(nearest_key("lissten"), "listen");
  EXPECT_EQ(nearest_key("www_root"), "");
  EXPECT_EQ(nearest_key("something_else_entirely"), "");
}
