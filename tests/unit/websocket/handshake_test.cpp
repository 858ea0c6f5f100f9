#include "websocket/handshake.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <new>
#include <random>
#include <string>
#include <vector>

namespace waystation::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Handshake, AnswersTheKeyOfTheRfc) {
  // Section 1.3.
  EXPECT_EQ(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(Handshake, FailsWithoutADigest) {
  ASSERT_EQ(EVP_set_default_properties(nullptr, "provider=none"), 1);
  EXPECT_THROW(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), std::bad_alloc);
  ASSERT_EQ(EVP_set_default_properties(nullptr, ""), 1);
  EXPECT_EQ(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(Handshake, SwitchesProtocols) {
  EXPECT_EQ(switching_protocols("dGhlIHNhbXBsZSBub25jZQ==", ""),
            "HTTP/1.1 101 Switching Protocols\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
}

TEST(Handshake, NamesTheChosenSubprotocol) {
  EXPECT_EQ(switching_protocols("dGhlIHNhbXBsZSBub25jZQ==", "waystation.v1"),
            "HTTP/1.1 101 Switching Protocols\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            "Sec-WebSocket-Protocol: waystation.v1\r\n\r\n");
}

TEST(Handshake, AKeyIs16BytesInBase64) {
  std::mt19937 random(16);
  for (int i = 0; i < 500; ++i) {
    unsigned char nonce[16];
    for (auto& byte : nonce) byte = static_cast<unsigned char>(random());
    unsigned char encoded[32];
    const auto size = EVP_EncodeBlock(encoded, nonce, sizeof nonce);
    const std::string key(encoded, encoded + size);
    EXPECT_TRUE(is_valid_key(key)) << key;
  }
  EXPECT_TRUE(is_valid_key("AAAAAAAAAAAAAAAAAAAAAA=="));
  EXPECT_TRUE(is_valid_key("/+/+/+/+/+/+/+/+/+/+/w=="));
}

TEST(Handshake, RefusesInvalidKeys) {
  for (const std::string key :
       {"", "a", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25jZQA=", "dGhlIHNhbXBsZSBub25jZQAA",
        "dGhlIHNhbXBsZSBub25j==", "dGhlIHNhbXBsZSBub25jZSEh", "dGhlIHNhbXBsZSBub25-ZQ==",
        "dGhlIHNhbXBsZSBub25_ZQ==", "dGhl HNhbXBsZSBub25jZQ==", " dGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZQ== ", "dGhl=HNhbXBsZSBub25jZQ==", "====================A==="}) {
    EXPECT_FALSE(is_valid_key(key)) << key;
  }
}

std::vector<std::string> elements(std::string_view list) {
  std::vector<std::string> result;
  for_each_token(list, [&result](std::string_view element) { result.emplace_back(element); });
  return result;
}

TEST(Handshake, SplitsListsAsHttpDoes) {
  EXPECT_THAT(elements("a"), ElementsAre("a"));
  EXPECT_THAT(elements("a,b"), ElementsAre("a", "b"));
  EXPECT_THAT(elements(" a \t,\tb , c"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(elements(",, a,, ,b,"), ElementsAre("a", "b"));
  EXPECT_THAT(elements("a b"), ElementsAre("a b"));
  EXPECT_THAT(elements(""), IsEmpty());
  EXPECT_THAT(elements(" , ,"), IsEmpty());
}

TEST(Handshake, RemovesTheFirstElement) {
  std::string_view list = " a , b";
  EXPECT_EQ(next_list_element(list), "a");
  EXPECT_EQ(next_list_element(list), "b");
  EXPECT_EQ(next_list_element(list), "");
  EXPECT_EQ(next_list_element(list), "");
  EXPECT_EQ(list, "");
}

TEST(Handshake, FindsATokenInAnyCase) {
  EXPECT_TRUE(has_token("Upgrade", "upgrade"));
  EXPECT_TRUE(has_token("keep-alive, UPGRADE", "Upgrade"));
  EXPECT_TRUE(has_token("upgrade,keep-alive", "upgrade"));
  EXPECT_FALSE(has_token("upgraded", "upgrade"));
  EXPECT_FALSE(has_token("no upgrade", "upgrade"));
  EXPECT_FALSE(has_token("upgrad", "upgrade"));
  EXPECT_FALSE(has_token("", "upgrade"));
  // Only letters have a case, although '@' and '`' differ in the same bit.
  EXPECT_FALSE(has_token("a@", "a`"));
  EXPECT_FALSE(has_token("a[", "a{"));
}

}  // namespace
}  // namespace waystation::test
