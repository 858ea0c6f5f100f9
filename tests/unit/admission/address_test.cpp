#include "admission/address.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace waystation::test {
namespace {

using testing::HasSubstr;

Address address(std::string_view text) {
  const auto parsed = Address::parse(text);
  EXPECT_TRUE(parsed) << text;
  return parsed.value_or(Address());
}

AddressList list(const std::vector<std::string>& entries) {
  auto parsed = AddressList::parse(entries);
  EXPECT_TRUE(parsed);
  return std::move(*parsed);
}

TEST(Address, ReadsBothFamiliesAndWritesThemCanonically) {
  EXPECT_EQ(address("192.0.2.7").to_string(), "192.0.2.7");
  EXPECT_TRUE(address("192.0.2.7").is_v4());
  EXPECT_EQ(address("2001:DB8:0:0::1").to_string(), "2001:db8::1");
  EXPECT_FALSE(address("::1").is_v4());
}

TEST(Address, TreatsAMappedAddressAsIpv4) {
  EXPECT_EQ(address("::ffff:192.0.2.7"), address("192.0.2.7"));
  EXPECT_EQ(address("::FFFF:c000:0207").to_string(), "192.0.2.7");
  EXPECT_TRUE(address("::ffff:127.0.0.1").is_loopback());
  EXPECT_NE(address("::192.0.2.7"), address("192.0.2.7"));
}

TEST(Address, IgnoresAZone) {
  EXPECT_EQ(address("fe80::1%eth0"), address("fe80::1"));
  for (const char* text : {"fe80::1%", "fe80::1%a b", "fe80::1%a%b", "127.0.0.1%lo"}) {
    EXPECT_FALSE(Address::parse(text)) << text;
  }
}

TEST(Address, RefusesOtherTexts) {
  for (const std::string_view text :
       {"", " 127.0.0.1", "127.0.0.1 ", "127.1", "127.0.0.01", "0x7f.0.0.1", "256.0.0.1",
        "127.0.0.1:80", "[::1]", ":::1", "1:2:3:4:5:6:7:8:9", "localhost", "unknown"}) {
    EXPECT_FALSE(Address::parse(text)) << text;
  }
  EXPECT_FALSE(Address::parse(std::string_view("127.0.0.1\0", 10)));
  EXPECT_FALSE(Address::parse(std::string(500, '1')));
}

TEST(Address, RecognizesLoopback) {
  for (const char* text : {"127.0.0.1", "127.255.255.254", "::1"}) {
    EXPECT_TRUE(address(text).is_loopback()) << text;
  }
  for (const char* text :
       {"126.0.0.1", "128.0.0.1", "0.0.0.0", "::", "::2", "1::1", "::1:1", "::127.0.0.1"}) {
    EXPECT_FALSE(address(text).is_loopback()) << text;
  }
}

TEST(AddressBlock, ContainsAddressesWithItsPrefix) {
  struct Case {
    const char* block;
    const char* address;
    bool contains;
  };
  for (const auto& [block, text, contains] : {
           Case{"10.0.0.0/8", "10.255.255.255", true},
           Case{"10.0.0.0/8", "11.0.0.0", false},
           Case{"192.0.2.128/25", "192.0.2.128", true},
           Case{"192.0.2.128/25", "192.0.2.127", false},
           Case{"192.0.2.7", "192.0.2.7", true},
           Case{"192.0.2.7", "192.0.2.6", false},
           Case{"192.0.2.6/31", "192.0.2.7", true},
           Case{"0.0.0.0/0", "203.0.113.9", true},
           Case{"0.0.0.0/0", "::1", false},
           Case{"::/0", "2001:db8::1", true},
           Case{"::/0", "203.0.113.9", false},
           Case{"fd00::/8", "fdff::1", true},
           Case{"fd00::/8", "fe00::1", false},
           Case{"2001:db8::/33", "2001:db8:7fff::1", true},
           Case{"2001:db8::/33", "2001:db8:8000::1", false},
           Case{"::ffff:10.0.0.0/104", "10.1.2.3", true},
           Case{"::ffff:10.0.0.0/104", "11.1.2.3", false},
           Case{"10.0.0.0/8", "::ffff:10.1.2.3", true},
       }) {
    EXPECT_EQ(list({block}).contains(address(text)), contains) << block << " " << text;
  }
}

TEST(AddressBlock, DescribesErrors) {
  struct Case {
    const char* text;
    const char* problem;
  };
  for (const auto& [text, problem] : {
           Case{"10.0.0.1/8", "the block is 10.0.0.0/8"},
           Case{"fd00::1/8", "the block is fd00::/8"},
           Case{"::ffff:10.0.0.1/104", "the block is 10.0.0.0/8"},
           Case{"10.0.0.0/33", "from 0 to 32"},
           Case{"10.0.0.0/", "from 0 to 32"},
           Case{"10.0.0.0/08", "from 0 to 32"},
           Case{"10.0.0.0/-1", "from 0 to 32"},
           Case{"10.0.0.0/8/8", "from 0 to 32"},
           Case{"::/129", "from 0 to 128"},
           Case{"::ffff:0:0/95", "starts at /96"},
           Case{"example.org", "neither an address nor a CIDR block"},
           Case{"/8", "neither an address nor a CIDR block"},
           Case{"fe80::%eth0/64", "neither an address nor a CIDR block"},
       }) {
    const auto parsed = AddressBlock::parse(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error(), HasSubstr(problem)) << text;
  }
}

TEST(AddressBlock, ReturnsTheLengthOfItsPrefix) {
  for (const char* text : {"0.0.0.0/0", "10.0.0.0/8", "192.0.2.7/32", "::/0", "fd00::/8"}) {
    const auto block = AddressBlock::parse(text);
    ASSERT_TRUE(block) << text;
    EXPECT_EQ(block->to_string(), text);
  }
}

TEST(AddressList, DetectsThatItContainsAllAddresses) {
  for (const auto& entries : std::vector<std::vector<std::string>>{
           {"0.0.0.0/0"},
           {"::/0"},
           {"::ffff:0:0/96"},
           {"0.0.0.0/1", "128.0.0.0/1"},
           {"::/1", "10.0.0.0/8", "8000::/1"},
           {"128.0.0.0/2", "0.0.0.0/2", "192.0.0.0/2", "64.0.0.0/3", "96.0.0.0/3"},
           {"0.0.0.0/1", "10.0.0.0/8", "128.0.0.0/1", "::1"}}) {
    EXPECT_TRUE(list(entries).contains_all_addresses()) << testing::PrintToString(entries);
  }
  for (const auto& entries :
       std::vector<std::vector<std::string>>{{},
                                             {"0.0.0.0/1"},
                                             {"0.0.0.0"},
                                             {"::"},
                                             {"0.0.0.0/1", "::/1"},
                                             {"0.0.0.0/1", "0.0.0.0/1"},
                                             {"0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"},
                                             {"8000::/1", "::1"}}) {
    EXPECT_FALSE(list(entries).contains_all_addresses()) << testing::PrintToString(entries);
  }
}

TEST(AddressList, ContainsTheAddressesOfAllBlocks) {
  const AddressList both = list({"127.0.0.0/8", "::1"});
  EXPECT_TRUE(both.contains(address("127.3.2.1")));
  EXPECT_TRUE(both.contains(address("::1")));
  EXPECT_FALSE(both.contains(address("::2")));
  EXPECT_FALSE(AddressList().contains(address("127.0.0.1")));
}

TEST(AddressList, NamesTheWrongEntry) {
  const std::vector<std::string> entries{"::1", "nonsense"};
  const auto parsed = AddressList::parse(entries);
  ASSERT_FALSE(parsed);
  EXPECT_THAT(parsed.error(), HasSubstr("\"nonsense\": neither"));
}

}  // namespace
}  // namespace waystation::test
