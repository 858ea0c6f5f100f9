#include "cluster/engine_address.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace waystation::test {
namespace {

EngineAddress parse(std::string_view text) {
  auto parsed = parse_engine_address("cluster", text);
  EXPECT_TRUE(parsed) << text << ": " << parsed.error().message;
  return parsed ? *parsed : EngineAddress{};
}

std::string problem_with(std::string_view text) {
  const auto parsed = parse_engine_address("cluster", text);
  EXPECT_FALSE(parsed) << text;
  if (parsed) return {};
  EXPECT_EQ(parsed.error().option, "cluster");
  EXPECT_NE(parsed.error().message.find("allowed: redis://"), std::string::npos);
  const auto& message = parsed.error().message;
  const auto begin = message.find("\": ");
  return message.substr(0, message.find("; allowed")).substr(begin + 3);
}

using Hosts = std::vector<EngineHost>;

TEST(EngineAddress, APrimary) {
  const auto full = parse("redis://relay:p%40ss%3A@redis.example:7000/3");
  EXPECT_EQ(full.hosts, (Hosts{{"redis.example", 7000}}));
  EXPECT_EQ(full.user, "relay");
  EXPECT_EQ(full.password, "p@ss:");
  EXPECT_EQ(full.database, 3U);
  EXPECT_FALSE(full.uses_sentinel());
  EXPECT_EQ(full.describe(), "redis://redis.example:7000/3");

  const auto small = parse("redis://10.0.0.1");
  EXPECT_EQ(small.hosts, (Hosts{{"10.0.0.1", 6379}}));
  EXPECT_EQ(small.user + small.password, "");
  EXPECT_EQ(parse("redis://:secret@h").password, "secret");
  EXPECT_EQ(parse("redis://:a@b@h").password, "a@b") << "the last '@' ends the password";
  EXPECT_EQ(parse("redis://[::1]:7000/").hosts, (Hosts{{"::1", 7000}}));
  EXPECT_EQ(parse("redis://[fe80::1]").describe(), "redis://[fe80::1]:6379");
}

TEST(EngineAddress, OneServer) {
  const auto is_same = [](std::string_view one, std::string_view other) {
    return parse(one).has_server_of(parse(other));
  };
  EXPECT_TRUE(is_same("redis://h", "redis://:password@h:6379/1"));
  EXPECT_FALSE(is_same("redis://h", "redis://h:6380"));
  EXPECT_TRUE(is_same("unix:///a", "unix://:password@/a"));
  EXPECT_FALSE(is_same("unix:///a", "unix:///b"));
  EXPECT_TRUE(is_same("redis+sentinel://a,b/main", "redis+sentinel://b,c/main/1"));
  EXPECT_FALSE(is_same("redis+sentinel://a,b/main", "redis+sentinel://a,b/other"));
  EXPECT_FALSE(is_same("redis://h:26379", "redis+sentinel://h/main"));
}

TEST(EngineAddress, Sentinels) {
  const auto address = parse("redis+sentinel://:pw@a,b:7,[::1]:8/main/2");
  EXPECT_EQ(address.hosts, (Hosts{{"a", 26379}, {"b", 7}, {"::1", 8}}));
  EXPECT_EQ(address.primary_name, "main");
  EXPECT_EQ(address.password, "pw");
  EXPECT_EQ(address.database, 2U);
  EXPECT_TRUE(address.uses_sentinel());
  EXPECT_EQ(address.describe(), "redis+sentinel://a:26379,b:7,[::1]:8/main/2");
}

TEST(EngineAddress, AUnixSocket) {
  const auto address = parse("unix:///run/redis/redis.sock");
  EXPECT_EQ(address.hosts, (Hosts{{"/run/redis/redis.sock", 0}}));
  EXPECT_TRUE(address.hosts.front().is_path());
  EXPECT_EQ(address.describe(), "unix:///run/redis/redis.sock");
  EXPECT_EQ(parse("unix://:pw@/a").password, "pw");
}

TEST(EngineAddress, ProblemsAreNamed) {
  EXPECT_EQ(problem_with("rediss://h"), "an unknown scheme");
  EXPECT_EQ(problem_with(""), "an unknown scheme");
  EXPECT_EQ(problem_with("redis://"), "a host is missing");
  EXPECT_EQ(problem_with("redis+sentinel://a,,b/m"), "a host is missing");
  EXPECT_EQ(problem_with("redis://a,b"), "several hosts without Sentinel; each shard is an entry");
  EXPECT_EQ(problem_with("redis+sentinel://a"), "the name of the primary is missing");
  EXPECT_EQ(problem_with("redis://user@h"), "a user without a password");
  EXPECT_EQ(problem_with("redis://u:@h"), "an empty password");
  EXPECT_EQ(problem_with("redis://h/x"), "the database is not a number from 0 to 65535");
  EXPECT_EQ(problem_with("unix://relative"), "the path does not begin with '/'");
  EXPECT_EQ(problem_with("redis://[::1"), "an IPv6 address without ']'");
  const std::string_view port =
      "the port is not a number from 1 to 65535; an IPv6 address needs brackets";
  for (const auto text :
       {"redis://h:0", "redis://h:65536", "redis://h:", "redis://fe80::1", "redis://[::1]x"}) {
    EXPECT_EQ(problem_with(text), port) << text;
  }
}

TEST(EngineAddress, NoErrorShowsAPassword) {
  for (const auto text :
       {"redis://u:secret@h:x", "rediss://u:secret@h", "u:secret@h", "unix://:secret@h",
        "redis://:secr%et@h", "redis://:secret%4@h", "redis://u:secret@h/x@y"}) {
    const auto parsed = parse_engine_address("cluster", text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().message.find("secr"), std::string::npos) << parsed.error().message;
  }
}

}  // namespace
}  // namespace waystation::test
