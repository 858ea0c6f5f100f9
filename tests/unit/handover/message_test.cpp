#include "handover/message.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "unit/handover/messages.hpp"

namespace waystation::test {
namespace {

using testing::HasSubstr;

/// The log's reason for which an ASK is refused; empty if it is not.
std::string problem_with(const AskMessage& message) {
  const auto bytes = message.bytes();
  const auto ask = Ask::parse(bytes);
  if (ask) return "";
  EXPECT_EQ(ask.error().code, RefusalCode::bad_handover);
  return ask.error().log_detail;
}

RefusalCode code_for(std::string_view message) {
  const auto ask = Ask::parse(message);
  return ask ? RefusalCode::internal : ask.error().code;
}

TEST(Ask, HoldsTheRequestAndWhatTheAskerSaysOfIt) {
  AskMessage message;
  message.flags = 1;
  message.minor = 0;
  message.key = std::string("k\0\r\n", 4);
  message.target = "/push/bob/?a=%20";
  message.user = "bob";
  message.scopes = "push admin";
  message.fields = {{"Host", "chat.example"}, {"X-A", ""}, {"X-A", "\xFF two"}};
  auto bytes = message.bytes();
  const auto ask = Ask::parse(bytes);
  ASSERT_TRUE(ask);
  std::fill(bytes.begin(), bytes.end(), '!');  // the ask has a copy
  const auto& request = (*ask)->request();
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.target, "/push/bob/?a=%20");
  EXPECT_EQ(request.version, "1.0");
  EXPECT_EQ(request.remote_address, "192.0.2.7");
  EXPECT_EQ(request.remote_port, 50'000);
  EXPECT_EQ(request.local_port, 8080);
  EXPECT_TRUE(request.is_tls);
  ASSERT_EQ(request.headers.size(), 3U);
  EXPECT_EQ(request.headers[0].name, "Host");
  EXPECT_EQ(request.headers[1].value, "");
  EXPECT_EQ(request.headers[2].value, "\xFF two");
  ASSERT_NE(request.handed_over, nullptr);
  EXPECT_EQ(request.handed_over->key, message.key);
  EXPECT_EQ(request.handed_over->user, "bob");
  EXPECT_EQ(request.handed_over->scopes, "push admin");
}

TEST(Ask, NamesNobodyWithoutTheFlag) {
  const auto bytes = AskMessage{}.bytes();
  const auto ask = Ask::parse(bytes);
  ASSERT_TRUE(ask);
  EXPECT_FALSE((*ask)->request().is_tls);
  EXPECT_EQ((*ask)->request().handed_over->user, "");
  EXPECT_EQ((*ask)->request().version, "1.1");
}

TEST(Ask, TakesAHigherMinorVersionForTheHighestOfOneDigit) {
  for (const std::uint64_t minor : {9U, 10U, 255U}) {
    const auto bytes = AskMessage{.minor = minor}.bytes();
    const auto ask = Ask::parse(bytes);
    ASSERT_TRUE(ask) << minor;
    EXPECT_EQ((*ask)->request().version, "1.9") << minor;
  }
}

TEST(Ask, IsRefusedIfItsBytesDoNotFitItsLengths) {
  const auto whole = AskMessage{}.bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(code_for(std::string_view(whole).substr(0, size)), RefusalCode::bad_handover) << size;
  }
  EXPECT_EQ(problem_with({.rest = "x"}), "the message is longer than its lengths say");
  EXPECT_EQ(problem_with({.target_size = 60'000}), "the message is shorter than its lengths say");
  EXPECT_EQ(problem_with({.field_count = 2}), "the message is shorter than its lengths say");
  EXPECT_EQ(problem_with({.field_count = 0}), "the message is longer than its lengths say");
}

TEST(Ask, IsRefusedWithUnknownOrContradictingParts) {
  EXPECT_THAT(problem_with({.version = 2}), HasSubstr("version"));
  EXPECT_THAT(problem_with({.kind = 4}), HasSubstr("kind"));
  EXPECT_THAT(problem_with({.major = 10}), HasSubstr("HTTP version"));
  EXPECT_THAT(problem_with({.flags = 4}), HasSubstr("flag"));
  EXPECT_THAT(problem_with({.flags = 2}), HasSubstr("flag of the user"));
  EXPECT_THAT(problem_with({.scopes = "push"}), HasSubstr("flag of the user"));
  EXPECT_THAT(problem_with({.method = ""}), HasSubstr("out of range"));
  EXPECT_THAT(problem_with({.fields = {{"", "x"}}}), HasSubstr("no name"));
}

TEST(Ask, HasALimitForEachText) {
  const auto text = [](std::size_t size) { return std::string(size, 'x'); };
  for (const std::size_t extra : {0U, 1U}) {
    const auto expected = extra == 0 ? "" : "a length is out of range";
    EXPECT_EQ(problem_with({.key = text(256 + extra)}), expected);
    EXPECT_EQ(problem_with({.address = text(64 + extra)}), expected);
    EXPECT_EQ(problem_with({.method = text(32 + extra)}), expected);
    EXPECT_EQ(problem_with({.user = text(256 + extra)}), expected);
    EXPECT_EQ(problem_with({.user = "u", .scopes = text(1024 + extra)}), expected);
  }
}

TEST(Ask, HasNoLineBreaksOrNulInItsTexts) {
  for (const char bad : {'\r', '\n', '\0'}) {
    const auto text = std::string("a") + bad;
    const auto expected = "a text holds a NUL or a line break";
    EXPECT_EQ(problem_with({.address = text}), expected);
    EXPECT_EQ(problem_with({.method = text}), expected);
    EXPECT_EQ(problem_with({.target = text}), expected);
    EXPECT_EQ(problem_with({.user = text}), expected);
    EXPECT_EQ(problem_with({.user = "u", .scopes = text}), expected);
    EXPECT_EQ(problem_with({.fields = {{text, "x"}}}), expected);
    EXPECT_EQ(problem_with({.fields = {{"x", text}}}), expected);
  }
}

TEST(Ask, MayHave256FieldsAnd65536Bytes) {
  AskMessage message;
  message.fields.assign(256, {"a", ""});
  EXPECT_EQ(problem_with(message), "");
  message.fields.emplace_back("a", "");
  EXPECT_EQ(code_for(message.bytes()), RefusalCode::too_many_fields);
  message.fields.assign(60'000, {"a", ""});
  message.fields.resize(10'000);
  message.field_count = 60'000;  // a lie, which makes no memory be reserved
  EXPECT_EQ(code_for(message.bytes()), RefusalCode::too_many_fields);

  message = {};
  message.fields = {{"a", std::string(65'536 - AskMessage{.fields = {}}.bytes().size() - 5, 'x')}};
  ASSERT_EQ(message.bytes().size(), 65'536U);
  EXPECT_EQ(problem_with(message), "");
  message.address += 'x';
  EXPECT_EQ(code_for(message.bytes()), RefusalCode::too_many_fields);
}

TEST(Here, HoldsEarlyBytesAndTheFlag) {
  const auto plain = here_message();
  const auto first = Here::parse(plain);
  ASSERT_TRUE(first);
  EXPECT_FALSE(first->is_pumped);
  EXPECT_EQ(first->early, "");
  const auto pumped = here_message("early", 1);
  const auto second = Here::parse(pumped);
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->is_pumped);
  EXPECT_EQ(second->early, "early");
}

TEST(Here, IsRefusedIfItIsMalformed) {
  const auto problem = [](const std::string& bytes) {
    const auto here = Here::parse(bytes);
    return here ? "" : here.error();
  };
  const auto whole = here_message("ab");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(problem(whole.substr(0, size)), "") << size;
  }
  EXPECT_THAT(problem(whole + "x"), HasSubstr("longer"));
  EXPECT_THAT(problem(here_message({}, 2)), HasSubstr("flag"));
  EXPECT_THAT(problem(AskMessage{}.bytes()), HasSubstr("kind"));
  EXPECT_EQ(problem(here_message(std::string(65'535, 'x'))), "");
  EXPECT_THAT(problem(here_message(std::string(65'536, 'x'))), HasSubstr("65535"));
}

TEST(Give, HasFourBytes) {
  EXPECT_EQ(give_message(), number(1, 1) + number(2, 1) + number(0, 2));
}

TEST(Refuse, HoldsStatusCodeFieldsAndBody) {
  HttpResponse response{403, "application/json", "{}", {{"Vary", "Origin"}, {"X", "a\r\nY: b"}}};
  const auto field = [](std::string_view name, std::string_view value) {
    return number(name.size(), 2) + number(value.size(), 2) + std::string(name) +
           std::string(value);
  };
  const auto fixed =
      field("Cache-Control", "no-store") + field("X-Content-Type-Options", "nosniff");
  EXPECT_EQ(refuse_message("not_a_member", response),
            number(1, 1) + number(3, 1) + number(403, 2) + number(12, 2) + number(4, 2) +
                number(2, 4) + "not_a_member" + field("Content-Type", "application/json") + fixed +
                field("Vary", "Origin") + "{}")
      << "without the field that has a line break";
  EXPECT_EQ(refuse_message("", {204, "text/plain", "ignored", {}}),
            number(1, 1) + number(3, 1) + number(204, 2) + number(0, 2) + number(2, 2) +
                number(0, 4) + fixed);
}

TEST(Refuse, StaysWithinItsLimits) {
  const auto long_body = refuse_message("full", {503, "text/plain", std::string(16'384, 'x'), {}});
  EXPECT_LT(long_body.size(), 1000U);
  EXPECT_THAT(long_body, HasSubstr("internal"));
  HttpResponse many{503, "text/plain", "", {}};
  many.headers.assign(30, {"a", "b"});
  EXPECT_THAT(refuse_message("full", many), HasSubstr("internal"));
  many.headers.pop_back();
  EXPECT_THAT(refuse_message("full", many), HasSubstr("full"));
}

}  // namespace
}  // namespace waystation::test
