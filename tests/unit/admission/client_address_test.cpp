#include "admission/client_address.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/admission/request_builder.hpp"

namespace waystation::test {
namespace {

using test::RequestBuilder;
using testing::HasSubstr;

const std::vector<std::string> kProxies{"127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"};

ClientAddress client(const Request& request) {
  return client_address(request, *AddressList::parse(kProxies));
}

/// The client's address as text; "nobody" if it is unidentified.
std::string name(const ClientAddress& client) {
  return client.address ? client.address->to_string() : "nobody";
}

TEST(ClientAddress, IsThePeersIfNothingWasForwarded) {
  EXPECT_EQ(name(client(RequestBuilder("/").from("203.0.113.9"))), "203.0.113.9");
  EXPECT_EQ(name(client(RequestBuilder("/").from("::ffff:203.0.113.9"))), "203.0.113.9");
  const ClientAddress local = client(RequestBuilder("/").from("127.0.0.1"));
  EXPECT_EQ(name(local), "127.0.0.1");
  EXPECT_TRUE(local.through_trusted_proxy);
}

TEST(ClientAddress, IsUnidentifiedBehindAnUntrustedProxy) {
  for (const char* field :
       {"X-Forwarded-For", "x-forwarded-for", "Forwarded", "X-Real-IP", "X-Forwarded-Proto",
        "x-forwarded-host", "X-Forwarded-Port", "X-Forwarded-User", "X-Forwarded-Server",
        "X-Forwarded", "Via", "X-Client-IP", "CF-Connecting-IP", "True-Client-IP"}) {
    for (const char* value : {"127.0.0.1", "for=127.0.0.1", ""}) {
      const ClientAddress found = client(RequestBuilder("/").from("203.0.113.9").add(field, value));
      EXPECT_EQ(name(found), "nobody") << field << " " << value;
      EXPECT_FALSE(found.through_trusted_proxy);
      EXPECT_THAT(found.why_unidentified, HasSubstr("203.0.113.9, not one of trusted_proxies"));
      ASSERT_TRUE(found.address_for_limits());
      EXPECT_EQ(found.address_for_limits()->to_string(), "203.0.113.9");
    }
  }
}

TEST(ClientAddress, IsUnidentifiedWithHttp10) {
  for (const char* peer : {"127.0.0.1", "203.0.113.9"}) {
    for (const char* version : {"1.0", "0.9"}) {
      const ClientAddress found = client(RequestBuilder("/").from(peer).version(version));
      EXPECT_EQ(name(found), "nobody") << peer;
      EXPECT_EQ(found.address_for_limits()->to_string(), peer);
    }
  }
  EXPECT_EQ(name(client(RequestBuilder("/")
                            .from("127.0.0.1")
                            .version("1.0")
                            .add("X-Forwarded-For", "203.0.113.9"))),
            "203.0.113.9");
}

TEST(ClientAddress, IgnoresOtherFieldsOfThePeer) {
  for (const char* field : {"X-Requested-With", "X-Forward", "Viable", "Origin", "User-Agent",
                            "X-Stranger", "Connection"}) {
    EXPECT_EQ(name(client(RequestBuilder("/").from("203.0.113.9").add(field, "1"))), "203.0.113.9")
        << field;
  }
}

TEST(ClientAddress, IsTheRightmostOneThatIsNotAProxy) {
  struct Case {
    const char* forwarded;
    const char* client;
  };
  for (const auto& [forwarded, expected] : {
           Case{"203.0.113.9", "203.0.113.9"},
           Case{"127.0.0.1, 203.0.113.9", "203.0.113.9"},
           Case{"198.51.100.1, 203.0.113.9", "203.0.113.9"},
           Case{"198.51.100.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"},
           Case{"203.0.113.9, 10.1.2.3, 10.9.9.9,", "203.0.113.9"},
           Case{"::ffff:203.0.113.9", "203.0.113.9"},
           Case{"2001:db8::1, fd00::2", "2001:db8::1"},
           Case{"203.0.113.9:4711", "203.0.113.9"},
           Case{"[2001:db8::1]:4711", "2001:db8::1"},
           Case{"[2001:db8::1]", "2001:db8::1"},
           Case{"10.1.2.3, 127.0.0.1", "10.1.2.3"},
           Case{"unknown, 203.0.113.9", "203.0.113.9"},
           Case{"203.0.113.9, unknown", "nobody"},
           Case{"203.0.113.9, unknown, 10.1.2.3", "nobody"},
           Case{"203.0.113.9:", "nobody"},
           Case{"203.0.113.9:port", "nobody"},
           Case{"[203.0.113.9]", "nobody"},
           Case{"[2001:db8::1", "nobody"},
           Case{"[2001:db8::1]4711", "nobody"},
           Case{"2001:db8::1:99999", "nobody"},
           Case{"", "nobody"},
           Case{" , ", "nobody"},
       }) {
    const ClientAddress found =
        client(RequestBuilder("/").from("127.0.0.1").add("X-Forwarded-For", forwarded));
    EXPECT_EQ(name(found), expected) << forwarded;
    EXPECT_EQ(found.why_unidentified.empty(), found.address.has_value()) << forwarded;
    EXPECT_TRUE(found.through_trusted_proxy);
  }
}

TEST(ClientAddress, ReadsSeveralForwardingFieldsAsOneList) {
  EXPECT_EQ(name(client(RequestBuilder("/")
                            .from("::1")
                            .add("X-Forwarded-For", "127.0.0.1")
                            .add("X-Forwarded-For", "203.0.113.9, 10.0.0.1"))),
            "203.0.113.9");
}

TEST(ClientAddress, PrefersXForwardedFor) {
  EXPECT_EQ(name(client(RequestBuilder("/")
                            .from("127.0.0.1")
                            .add("X-Real-IP", "198.51.100.1")
                            .add("X-Forwarded-For", "203.0.113.9"))),
            "203.0.113.9");
}

TEST(ClientAddress, IsUnidentifiedIfATrustedProxySetsNoXForwardedFor) {
  for (const char* field : {"Forwarded", "X-Real-IP", "X-Forwarded-Proto", "Via"}) {
    EXPECT_EQ(name(client(RequestBuilder("/").from("127.0.0.1").add(field, "127.0.0.1"))), "nobody")
        << field;
  }
}

TEST(ClientAddress, IsUnidentifiedWithoutAnIpAddress) {
  const ClientAddress found = client(RequestBuilder("/").from("/run/waystation.sock"));
  EXPECT_EQ(name(found), "nobody");
  EXPECT_FALSE(found.address_for_limits());
  EXPECT_FALSE(found.through_trusted_proxy);
}

TEST(ClientAddress, CountsTheClientBehindAProxy) {
  const ClientAddress found =
      client(RequestBuilder("/").from("127.0.0.1").add("X-Forwarded-For", "203.0.113.9"));
  ASSERT_TRUE(found.address_for_limits());
  EXPECT_EQ(found.address_for_limits()->to_string(), "203.0.113.9");
}

}  // namespace
}  // namespace waystation::test
