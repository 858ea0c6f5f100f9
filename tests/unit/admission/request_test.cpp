#include "admission/request.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "unit/admission/request_builder.hpp"

namespace waystation::test {
namespace {

using test::RequestBuilder;

TEST(Request, IsCompleteWithItsHeader) {
  EXPECT_FALSE(is_server_next(""));
  EXPECT_FALSE(is_server_next("GET / HTTP/1.1\r\nHost: a\r\n"));
  EXPECT_TRUE(is_server_next("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
}

TEST(Request, OverTlsBeginsWithAWholeRecord) {
  using std::string_view_literals::operator""sv;
  EXPECT_FALSE(is_server_next("\x16\x03\x01\x00"sv));
  EXPECT_FALSE(is_server_next("\x16\x03\x01\x00\x02"sv));
  EXPECT_FALSE(is_server_next("\x16\x03\x01\x00\x02\x01"sv));
  EXPECT_TRUE(is_server_next("\x16\x03\x01\x00\x02\x01\x00"sv));
  EXPECT_TRUE(is_server_next("\x17\x03\x03\x00\x01\xff\x17\x03"sv)) << "and a part of the next one";
  // The length has two bytes.
  const std::string header{"\x16\x03\x01\x01\x00"sv};
  EXPECT_FALSE(is_server_next(header + std::string(255, 'x')));
  EXPECT_TRUE(is_server_next(header + std::string(256, 'x')));
}

TEST(Request, SplitsATargetInOriginForm) {
  const RequestBuilder builder = RequestBuilder("/ws/chat/a_b/").query("user=a");
  const auto target = split_target(builder);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/ws/chat/a_b/");
  EXPECT_EQ(target->query, "user=a");
  EXPECT_EQ(target->authority, "");
  EXPECT_FALSE(target->is_absolute);
}

TEST(Request, PrefersTheQueryInTheTarget) {
  const RequestBuilder builder = RequestBuilder("/push/a?user=a?b").query("user=c");
  const auto target = split_target(builder);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/push/a");
  EXPECT_EQ(target->query, "user=a?b");
}

TEST(Request, SplitsATargetInAbsoluteForm) {
  const RequestBuilder builder("HTTP://chat.example:81/push/a?x=1");
  const auto target = split_target(builder);
  ASSERT_TRUE(target);
  EXPECT_TRUE(target->is_absolute);
  EXPECT_EQ(target->authority, "chat.example:81");
  EXPECT_EQ(target->path, "/push/a");
  EXPECT_EQ(target->query, "x=1");
}

TEST(Request, TreatsAnAbsoluteTargetWithoutAPathAsTheRoot) {
  const RequestBuilder with_host("https://chat.example");
  const auto bare = split_target(with_host);
  ASSERT_TRUE(bare);
  EXPECT_EQ(bare->path, "/");
  const RequestBuilder with_query("http://chat.example?x");
  const auto query_only = split_target(with_query);
  ASSERT_TRUE(query_only);
  EXPECT_EQ(query_only->authority, "chat.example");
  EXPECT_EQ(query_only->path, "/");
  EXPECT_EQ(query_only->query, "x");
}

TEST(Request, RefusesOtherFormsOfTarget) {
  for (const char* text : {"", "*", "chat.example:80", "push/a", "ftp://h/push/a", "http:///push/a",
                           "/push/a#b", "http://h/#"}) {
    EXPECT_FALSE(split_target(RequestBuilder(text))) << text;
  }
}

TEST(Request, DistinguishesOneHeaderValueFromSeveralAndNone) {
  RequestBuilder builder("/");
  builder.add("HOST", " a \t").add("X-Twice", "1").add("x-twice", "1");
  const Request request = builder;
  EXPECT_TRUE(header_value(request, "host").is_one());
  EXPECT_EQ(header_value(request, "host").value, "a");
  EXPECT_EQ(header_value(request, "X-TWICE").found, OneValue::Found::several);
  EXPECT_EQ(header_value(request, "X-TWICE").value, "");
  EXPECT_TRUE(header_value(request, "X-Other").is_none());
  EXPECT_TRUE(header_value(request, "X-Twic").is_none());
}

TEST(Request, LooksUpAParameterByItsExactName) {
  struct Case {
    const char* query;
    Parameter::Found found;
    const char* value;
  };
  using enum Parameter::Found;
  for (const auto& [query, found, value] : {
           Case{"", none, ""},
           Case{"user=alice", one, "alice"},
           Case{"a=1&user=alice&b=2", one, "alice"},
           Case{"user=", one, ""},
           Case{"user", one, ""},
           Case{"user=a%62c+d", one, "abc d"},
           Case{"user=a=b", one, "a=b"},
           Case{"us%65r=alice", one, "alice"},
           Case{"User=alice", none, ""},
           Case{"xuser=alice", none, ""},
           Case{"users=alice", none, ""},
           Case{"us%zzr=alice", none, ""},
           Case{"&&user=alice&&", one, "alice"},
           Case{"user=alice&user=bob", several, ""},
           Case{"user=alice&us%65r=alice", several, ""},
           Case{"user=%zz&user=alice", several, ""},
           Case{"user=%", malformed, ""},
           Case{"user=%4", malformed, ""},
           Case{"user=%4g", malformed, ""},
           Case{"user=%g4", malformed, ""},
       }) {
    const Parameter parameter = query_parameter(query, "user");
    EXPECT_EQ(parameter.found, found) << query;
    EXPECT_EQ(parameter.value, value) << query;
  }
}

TEST(Request, StopsAtTheEndOfTheQuery) {
  const std::string_view longer = "user=%41";
  EXPECT_EQ(query_parameter(longer.substr(0, 7), "user").found, Parameter::Found::malformed);
  EXPECT_EQ(query_parameter("user=%4&1", "user").found, Parameter::Found::malformed);
}

TEST(Request, KeepsAZeroByteOfAParameter) {
  EXPECT_EQ(query_parameter("user=a%00b", "user").value, std::string("a\0b", 3));
}

TEST(Request, QuotesUnprintableCharacters) {
  EXPECT_EQ(in_quotes("a b"), "\"a b\"");
  EXPECT_EQ(in_quotes("a\r\nb\"\x80"), "\"a??b??\"");
  EXPECT_EQ(in_quotes(std::string(80, 'a')), "\"" + std::string(80, 'a') + "\"");
  EXPECT_EQ(in_quotes(std::string(81, 'a')), "\"" + std::string(80, 'a') + "…\"");
}

}  // namespace
}  // namespace waystation::test
