#include "embed/addresses.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace waystation::server;

TEST(ListenAddress, AcceptsIpv4WithPort) {
  const auto address = parse_listen_address("127.0.0.1:8080");
  ASSERT_TRUE(address);
  EXPECT_EQ(*address, (ListenAddress{"127.0.0.1", 8080, false}));
  EXPECT_EQ(address->text(), "127.0.0.1:8080");
}

TEST(ListenAddress, AcceptsBracketedIpv6WithPort) {
  const auto address = parse_listen_address("[2001:db8::1]:443");
  ASSERT_TRUE(address);
  EXPECT_EQ(*address, (ListenAddress{"2001:db8::1", 443, true}));
  EXPECT_EQ(address->text(), "[2001:db8::1]:443");
}

TEST(ListenAddress, AcceptsTheSchemesOfHttp) {
  const auto tls = parse_listen_address("https://[::1]:8443");
  ASSERT_TRUE(tls);
  EXPECT_EQ(*tls, (ListenAddress{"::1", 8443, true, true}));
  EXPECT_EQ(tls->text(), "[::1]:8443");
  EXPECT_EQ(tls->url(), "https://[::1]:8443");
  EXPECT_EQ(parse_listen_address("http://127.0.0.1:80"), parse_listen_address("127.0.0.1:80"));
  EXPECT_EQ(parse_listen_address("127.0.0.1:80")->url(), "http://127.0.0.1:80");
}

TEST(ListenAddress, AcceptsPortZero) {
  ASSERT_TRUE(parse_listen_address("127.0.0.1:0"));
  EXPECT_EQ(parse_listen_address("127.0.0.1:0")->port, 0);
  EXPECT_EQ(parse_listen_address("127.0.0.1:65535")->port, 65535);
}

TEST(ListenAddress, RefusesOtherForms) {
  // CivetWeb gives the last ones a special meaning.
  for (const auto* text : {"",
                           ":",
                           "8080",
                           ":8080",
                           "127.0.0.1",
                           "127.0.0.1:",
                           "127.0.0.1:65536",
                           "127.0.0.1:-1",
                           "127.0.0.1:+1",
                           "127.0.0.1: 80",
                           "127.0.0.1:80 ",
                           " 127.0.0.1:80",
                           "localhost:80",
                           "127.1:80",
                           "127.0.0.256:80",
                           "::1:80",
                           "[::1]",
                           "[::1:80",
                           "::1]:80",
                           "[127.0.0.1]:80",
                           "[]:80",
                           "[::g]:80",
                           "127.0.0.1:80s",
                           "127.0.0.1:80r",
                           "+80",
                           "x/tmp/socket",
                           "https://",
                           "https:127.0.0.1:80",
                           "127.0.0.1:80/",
                           "127.0.0.1:80,127.0.0.1:81"}) {
    EXPECT_FALSE(parse_listen_address(text)) << text;
    EXPECT_NE(listen_address_problem(text), "") << text;
  }
  EXPECT_FALSE(parse_listen_address(std::string_view{"127.0.0.1\0:80", 13}));
}

TEST(ListenAddress, NamesTheWrongPart) {
  const auto expect = [](std::string_view text, std::string_view why) {
    EXPECT_THAT(listen_address_problem(text), ::testing::HasSubstr(std::string{why})) << text;
  };
  EXPECT_EQ(listen_address_problem("127.0.0.1:8080"), "");
  EXPECT_EQ(listen_address_problem("[::1]:0"), "");
  expect("8080", "no address before the port");
  expect(":8080", "no address before the port");
  expect("127.0.0.1", "no port");
  expect("127.0.0.1:", "no port after");
  expect("[::1]", "no port");
  expect("localhost", "no port");
  expect("::1", "no port");
  expect("127.0.0.1:http", "not a number");
  expect("127.0.0.1:65536", "greater than 65535");
  expect("localhost:80", "a name");
  expect("*:80", "0.0.0.0");
  expect("fe80::1:8080", "brackets");
  expect("[127.0.0.1]:80", "brackets are for IPv6");
  expect("127.0.0:80", "not an address");
  expect("ws://127.0.0.1:80", "scheme");
  expect("HTTPS://127.0.0.1:80", "scheme");
  expect("https://https://127.0.0.1:80", "scheme");
  expect("https://127.0.0.1", "no port");
  expect("https://localhost:80", "a name");
  expect("https://127.0.0.1:80/", "a path");
}

TEST(ListenAddress, DetectsLoopback) {
  for (const auto* text : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[0:0:0:0:0:0:0:1]:1"}) {
    EXPECT_TRUE(parse_listen_address(text)->is_loopback()) << text;
  }
  for (const auto* text : {"0.0.0.0:1", "192.0.2.7:1", "128.0.0.1:1", "[::]:1", "[fe80::1]:1",
                           "[::ffff:127.0.0.1]:1"}) {
    EXPECT_FALSE(parse_listen_address(text)->is_loopback()) << text;
  }
}
