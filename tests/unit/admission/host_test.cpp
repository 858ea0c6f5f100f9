#include "admission/host.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/admission/request_builder.hpp"

namespace waystation::test {
namespace {

using test::RequestBuilder;
using testing::HasSubstr;

HostRules rules(const std::vector<std::string>& hosts = {},
                const std::vector<std::string>& origins = {}) {
  auto parsed = HostRules::parse(hosts, origins);
  EXPECT_TRUE(parsed);
  return std::move(*parsed);
}

RequestBuilder with_host(std::string host) {
  return RequestBuilder("/").header("Host", std::move(host));
}

TEST(HostPort, ReadsNamesAndAddressesWithAndWithoutAPort) {
  struct Case {
    const char* text;
    const char* host;
    bool is_address;
    int port;  // 0: none
  };
  for (const auto& [text, host, is_address, port] : {
           Case{"chat.example", "chat.example", false, 0},
           Case{"Chat.Example:8443", "chat.example", false, 8443},
           Case{"chat.example.", "chat.example", false, 0},
           Case{"a_b-c", "a_b-c", false, 0},
           Case{"192.0.2.7:1", "192.0.2.7", true, 1},
           Case{"[2001:DB8::1]", "2001:db8::1", true, 0},
           Case{"[::1]:65535", "::1", true, 65535},
           Case{"[::ffff:127.0.0.1]:80", "127.0.0.1", true, 80},
       }) {
    const auto parsed = HostPort::parse(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->host, host) << text;
    EXPECT_EQ(parsed->is_address, is_address) << text;
    EXPECT_EQ(parsed->port.value_or(0), port) << text;
  }
}

TEST(HostPort, RefusesEverythingElse) {
  for (const char* text :
       {"",     ":80",     "a:",         "a:0",         "a:65536",        "a:080800",  "a:-1",
        "a:8x", "a:80:80", "a b",        "a/b",         "a..b",           ".a",        ".",
        "a@b",  "127.1",   "2130706433", "0x7f000001",  "127.0.0.0x1",    "1.2.3.256", "::1",
        "[::1", "[::1]80", "[::1]:",     "[127.0.0.1]", "[fe80::1%eth0]", "[]",        "a,b",
        "a\tb"}) {
    EXPECT_FALSE(HostPort::parse(text)) << text;
  }
  EXPECT_TRUE(HostPort::parse(std::string(253, 'a')));
  EXPECT_FALSE(HostPort::parse(std::string(254, 'a')));
}

TEST(HostPort, RecognizesLoopbackNames) {
  for (const char* text : {"localhost", "LOCALHOST:1", "localhost.", "app.localhost", "127.9.9.9",
                           "[::1]:8080", "[::ffff:127.0.0.1]"}) {
    EXPECT_TRUE(HostPort::parse(text)->is_loopback()) << text;
  }
  for (const char* text :
       {"notlocalhost", "localhost.example", "127.0.0.1.example", "0.0.0.0", "[::2]"}) {
    EXPECT_FALSE(HostPort::parse(text)->is_loopback()) << text;
  }
}

TEST(WebOrigin, ReadsSchemeHostAndPort) {
  EXPECT_EQ(WebOrigin::parse("HTTPS://Chat.Example"), WebOrigin::parse("https://chat.example:443"));
  EXPECT_NE(WebOrigin::parse("https://chat.example"), WebOrigin::parse("http://chat.example"));
  EXPECT_EQ(WebOrigin::parse("capacitor://localhost")->host.port, std::nullopt);
  for (const char* text : {"null", "", "chat.example", "://a", "https://", "https://a/",
                           "https://a?", "https://a,https://b", "https://a https://b", "1http://a",
                           "https:/a", "*", "https://*.example"}) {
    EXPECT_FALSE(WebOrigin::parse(text)) << text;
  }
}

TEST(HostRules, NeedOneHostInEveryMode) {
  const HostRules none = rules();
  for (const bool open_mode : {false, true}) {
    EXPECT_FALSE(none.check_host(RequestBuilder("/"), open_mode, true));
    EXPECT_FALSE(none.check_host(with_host(""), open_mode, true));
    EXPECT_FALSE(none.check_host(with_host("a b"), open_mode, true));
    EXPECT_FALSE(none.check_host(with_host("localhost").add("host", "localhost"), open_mode, true));
    EXPECT_TRUE(none.check_host(with_host("localhost"), open_mode, true));
  }
  const auto refused = none.check_host(RequestBuilder("/"), false, false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status(), 403);
  EXPECT_EQ(refused.error().code, RefusalCode::bad_host);
}

TEST(HostRules, RequireTheSameHostInTheTarget) {
  const HostRules none = rules();
  const auto check = [&](const char* target, const char* host) {
    return none.check_host(RequestBuilder(target).header("Host", host), false, false).has_value();
  };
  EXPECT_TRUE(check("http://chat.example/push/a", "CHAT.example"));
  EXPECT_FALSE(check("http://evil.example/push/a", "chat.example"));
  EXPECT_FALSE(check("http://chat.example:81/push/a", "chat.example"));
  EXPECT_FALSE(check("http://a@b/push/a", "b"));
}

TEST(HostRules, RestrictOpenModeToLoopback) {
  const HostRules listed = rules({"chat.example", "other.example:8443"});
  struct Case {
    const char* host;
    bool local;    // allowed in open mode
    bool network;  // allowed with allow_open_network
  };
  for (const auto& [host, local, network] : {
           Case{"localhost:8080", true, true},
           Case{"127.0.0.1:8080", true, true},
           Case{"[::1]:8080", true, true},
           Case{"192.0.2.7:8080", false, true},
           Case{"[2001:db8::1]", false, true},
           Case{"chat.example", false, true},
           Case{"CHAT.example:9", false, true},
           Case{"other.example:8443", false, true},
           Case{"other.example", false, false},
           Case{"evil.example", false, false},
           Case{"localhost.evil.example", false, false},
       }) {
    EXPECT_EQ(listed.check_host(with_host(host), true, false).has_value(), local) << host;
    EXPECT_EQ(listed.check_host(with_host(host), true, true).has_value(), network) << host;
    EXPECT_TRUE(listed.check_host(with_host(host), false, false)) << host;
  }
}

TEST(HostRules, AcceptAnOriginWithTheSameHostAndPort) {
  struct Case {
    const char* host;
    const char* origin;
    bool good;
  };
  const HostRules none = rules();
  for (const auto& [host, origin, good] : {
           Case{"chat.example", "https://chat.example", true},
           Case{"chat.example", "http://chat.example", true},
           Case{"chat.example", "HTTPS://CHAT.example", true},
           Case{"chat.example:443", "https://chat.example", true},
           Case{"chat.example", "https://chat.example:443", true},
           Case{"chat.example:8080", "http://chat.example:8080", true},
           Case{"[::1]:8080", "http://[0:0::1]:8080", true},
           Case{"chat.example:443", "http://chat.example", false},
           Case{"chat.example:80", "https://chat.example", false},
           Case{"chat.example", "http://chat.example:8080", false},
           Case{"chat.example:8080", "http://chat.example", false},
           Case{"chat.example", "https://evil.example", false},
           Case{"chat.example", "https://chat.example.evil.example", false},
           Case{"localhost:8080", "http://127.0.0.1:8080", false},
           Case{"chat.example", "null", false},
           Case{"chat.example", "", false},
           Case{"chat.example", "https://chat.example/", false},
           Case{"chat.example", "https://chat.example https://chat.example", false},
           Case{"chat.example", "file://", false},
           Case{"chat.example", "app://chat.example", false},
       }) {
    const auto checked = none.check_origin(with_host(host).header("Origin", origin));
    EXPECT_EQ(checked.has_value(), good) << host << " " << origin;
    if (!checked) {
      EXPECT_EQ(checked.error().status(), 403);
      EXPECT_EQ(checked.error().code, RefusalCode::bad_origin);
    }
  }
}

TEST(HostRules, OverTlsExpectAnOriginWithTls) {
  const auto is_good = [](const HostRules& checked, const char* origin) {
    return checked.check_origin(with_host("chat.example").tls().header("Origin", origin))
        .has_value();
  };
  EXPECT_TRUE(is_good(rules(), "https://chat.example"));
  EXPECT_FALSE(is_good(rules(), "http://chat.example"));
  EXPECT_TRUE(is_good(rules({}, {"http://chat.example"}), "http://chat.example"));
}

TEST(HostRules, RefuseTwoOrigins) {
  EXPECT_FALSE(rules().check_origin(with_host("chat.example")
                                        .add("Origin", "https://chat.example")
                                        .add("origin", "https://chat.example")));
}

TEST(HostRules, AcceptARequestWithoutAnOrigin) {
  EXPECT_TRUE(rules().check_origin(with_host("chat.example")));
}

TEST(HostRules, AcceptAnAllowedOrigin) {
  const HostRules listed = rules({}, {"https://page.example", "capacitor://localhost"});
  const auto good = [&](const char* origin) {
    return listed.check_origin(with_host("chat.example").header("Origin", origin)).has_value();
  };
  EXPECT_TRUE(good("https://page.example"));
  EXPECT_TRUE(good("https://PAGE.example:443"));
  EXPECT_TRUE(good("capacitor://localhost"));
  EXPECT_FALSE(good("http://page.example"));
  EXPECT_FALSE(good("https://page.example:8443"));
  EXPECT_FALSE(good("https://sub.page.example"));
}

TEST(HostRules, DistinguishAllowedOriginsFromTheSameOrigin) {
  const HostRules listed = rules({}, {"https://page.example"});
  const auto allowed = [&](const char* origin) {
    const RequestBuilder builder = with_host("chat.example").header("Origin", origin);
    return std::string(listed.allowed_origin(builder));
  };
  EXPECT_EQ(allowed("https://page.example"), "https://page.example");
  EXPECT_EQ(allowed("https://chat.example"), "");
  EXPECT_EQ(allowed("null"), "");
}

TEST(HostRules, NameTheWrongKeyAndValue) {
  const std::vector<std::string> bad_host{"chat.example/x"};
  const std::vector<std::string> bad_origin{"*"};
  const auto parsed = HostRules::parse(bad_host, bad_origin);
  ASSERT_FALSE(parsed);
  ASSERT_EQ(parsed.error().size(), 2U);
  EXPECT_EQ(parsed.error()[0].option, "allowed_hosts");
  EXPECT_THAT(parsed.error()[0].message,
              HasSubstr("allowed_hosts = \"chat.example/x\": not a host; allowed: "));
  EXPECT_EQ(parsed.error()[1].option, "allowed_origins");
  EXPECT_THAT(parsed.error()[1].message,
              HasSubstr("allowed_origins = \"*\": not an origin; allowed: "));
}

}  // namespace
}  // namespace waystation::test
