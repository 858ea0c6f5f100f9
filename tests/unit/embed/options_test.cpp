#include "embed/options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <waystation/waystation.h>

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

/// The first line that refuses a value for the option; empty where it is taken.
std::string mistake_in(const Option& option, const Value& value) {
  const auto mistakes = mistakes_in(option, value);
  return mistakes.empty() ? std::string{} : mistakes.front();
}

/// The error line for `text` as the option's value; empty if it is accepted.
std::string refusal(std::string_view key, std::string_view text) {
  const auto value = parse_value(option(key), text);
  return value ? mistake_in(option(key), *value) : wrong_type(option(key), quoted(text));
}

}  // namespace

TEST(Options, ListEveryKeyOnce) {
  std::multiset<std::string> keys;
  for (const auto& each : all_options()) keys.insert(each.key);
  const std::multiset<std::string> expected{"listen",
                                            "tls_certificate",
                                            "tls_key",
                                            "tls_hsts_seconds",
                                            "www",
                                            "handover",
                                            "handover_group",
                                            "handover_key_file",
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
                                            "show_reachable",
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
                                            "audit_file",
                                            "audit_retention_days",
                                            "audit_max_bytes",
                                            "node_name",
                                            "cluster",
                                            "cluster_name",
                                            "cluster_key_file",
                                            "log_level",
                                            "log_format"};
  EXPECT_EQ(keys, expected);
}

TEST(Options, HaveTheDocumentedDefaults) {
  const Settings settings;
  EXPECT_THAT(settings.list("listen"), ElementsAre("127.0.0.1:8080"));
  EXPECT_EQ(settings.text("tls_certificate"), "");
  EXPECT_EQ(settings.text("tls_key"), "");
  EXPECT_EQ(settings.number("tls_hsts_seconds"), 0);
  EXPECT_EQ(settings.text("auth"), "open");
  EXPECT_EQ(settings.text("identity_header"), "X-Forwarded-User");
  EXPECT_THAT(settings.list("operators"), ElementsAre("127.0.0.0/8", "::1"));
  EXPECT_FALSE(settings.flag("allow_open_network"));
  EXPECT_FALSE(settings.flag("allow_query_token"));
  EXPECT_TRUE(settings.flag("show_reachable"));
  EXPECT_EQ(settings.number("max_connections"), 10000);
  EXPECT_EQ(settings.number("max_connections_per_user"), 16);
  EXPECT_EQ(settings.number("max_connections_per_address"), 64);
  EXPECT_EQ(settings.number("max_message_bytes"), 65536);
  EXPECT_EQ(settings.number("max_queue_bytes"), 1048576);
  EXPECT_EQ(settings.number("max_total_queue_bytes"), 268435456);
  EXPECT_EQ(settings.number("messages_per_second"), 50);
  EXPECT_EQ(settings.number("message_burst"), 200);
  EXPECT_EQ(settings.number("busy_poll_microseconds"), 0);
  EXPECT_EQ(settings.number("ping_interval_seconds"), 25);
  EXPECT_EQ(settings.text("audit_file"), "");
  EXPECT_EQ(settings.number("audit_retention_days"), 30);
  EXPECT_EQ(settings.number("audit_max_bytes"), 67108864);
  EXPECT_EQ(settings.text("node_name"), "");
  EXPECT_EQ(settings.text("log_level"), "info");
  EXPECT_EQ(settings.text("log_format"), "text");
}

TEST(Options, AcceptTheirOwnDefaults) {
  for (const auto& each : all_options()) EXPECT_EQ(mistake_in(each, each.standard), "") << each.key;
}

TEST(Options, IncludeTheLibrarysExceptThoseTheServerSets) {
  EXPECT_EQ(find_option("descriptor_reserve"), nullptr);
  EXPECT_THAT(option("auth").choices, ElementsAre("open", "jwt", "header"));
  EXPECT_EQ(all_options().size(), waystation_option_count() - 1 + 8);
}

TEST(Options, HaveHelpAndAllowedValues) {
  for (const auto& each : all_options()) {
    EXPECT_TRUE(each.help.ends_with('.')) << each.key;
    EXPECT_FALSE(each.allowed.empty()) << each.key;
    if (each.type != Option::Type::number) continue;
    EXPECT_EQ(each.allowed, (each.zero_allowed ? "0, or " : "") + std::to_string(each.minimum) +
                                " to " + std::to_string(each.maximum));
  }
}

TEST(Options, HaveMatchingFlagsAndVariables) {
  EXPECT_EQ(option("max_connections_per_user").flag(), "--max-connections-per-user");
  EXPECT_EQ(option("max_connections_per_user").environment(),
            "WAYSTATION_MAX_CONNECTIONS_PER_USER");
  EXPECT_EQ(option("www").environment(), "WAYSTATION_WWW");
}

TEST(Options, ParseWholeNumbersInRange) {
  EXPECT_EQ(refusal("max_connections", "0"), "");
  EXPECT_EQ(refusal("max_connections", "10000000"), "");
  for (const auto* text : {"", " 1", "1 ", "+1", "-1", "1.0", "1e3", "0x10", "ten", "10000001",
                           "99999999999999999999999"}) {
    EXPECT_THAT(refusal("max_connections", text), HasSubstr("max_connections = ")) << text;
  }
}

TEST(Options, ParseBooleans) {
  for (const auto* text : {"true", "false", "1", "0"}) {
    EXPECT_EQ(refusal("allow_open_network", text), "") << text;
  }
  for (const auto* text : {"", "yes", "TRUE", "2", "true "}) {
    EXPECT_NE(refusal("allow_open_network", text), "") << text;
  }
}

TEST(Options, SplitListsAtCommas) {
  const auto value = parse_value(option("allowed_hosts"), " a.example , b.example,,");
  EXPECT_THAT(std::get<std::vector<std::string>>(*value), ElementsAre("a.example", "b.example"));
  EXPECT_TRUE(
      std::get<std::vector<std::string>>(*parse_value(option("allowed_hosts"), "")).empty());
}

TEST(Options, RefuseAListWithOneWrongEntry) {
  EXPECT_EQ(refusal("listen", "127.0.0.1:1,[::1]:2"), "");
  EXPECT_EQ(refusal("handover", "unix:/run/door"), "");
  EXPECT_THAT(refusal("handover", "run/door"),
              HasSubstr("handover = \"run/door\": not an absolute path; allowed: an absolute"));
  EXPECT_THAT(refusal("listen", "127.0.0.1:1,localhost:2"), HasSubstr("\"localhost:2\""));
}

TEST(Options, RefuseOtherThanTheChoices) {
  EXPECT_EQ(refusal("auth", "Open"),
            "auth = \"Open\": unknown value; allowed: open, jwt or header");
  EXPECT_EQ(refusal("log_level", "trace"),
            "log_level = \"trace\": unknown value; allowed: error, warning, info or debug");
  EXPECT_NE(refusal("log_format", "xml"), "");
  EXPECT_NE(refusal("auth", "callback"), "");  // the library accepts it, the server does not
}

TEST(Options, RefuseAValueOfAnotherType) {
  EXPECT_THAT(mistake_in(option("max_connections"), Value{std::string{"1"}}),
              HasSubstr("not a whole number"));
  EXPECT_THAT(mistake_in(option("listen"), Value{std::string{"127.0.0.1:1"}}),
              HasSubstr("not a list"));
  EXPECT_THAT(mistake_in(option("www"), Value{true}), HasSubstr("not a text"));
}

TEST(Options, RefuseNulAndComma) {
  EXPECT_THAT(mistake_in(option("www"), Value{std::string{"a\0b", 3}}), HasSubstr("NUL"));
  EXPECT_THAT(mistake_in(option("jwt_audience"), Value{std::vector<std::string>{"a,b"}}),
              HasSubstr("a comma"));
}

TEST(Options, HaveOneLineErrors) {
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

TEST(Options, SuggestSimilarKeys) {
  EXPECT_EQ(nearest_key("max_conections"), "max_connections");
  EXPECT_EQ(nearest_key("lissten"), "listen");
  EXPECT_EQ(nearest_key("www_root"), "");
  EXPECT_EQ(nearest_key("something_else_entirely"), "");
}
