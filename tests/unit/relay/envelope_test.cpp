#include "relay/envelope.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "unit/relay/json_texts.hpp"

namespace waystation::test {

// For messages of failed tests.
void PrintTo(const EnvelopeError& error, std::ostream* out) {
  *out << error_code_name(error.code) << ": " << error.detail;
}

namespace {

using testing::HasSubstr;
using Frame = Result<Envelope, EnvelopeError>;

Frame read(std::string_view text, Protocol protocol, SocketKind kind = SocketKind::chat) {
  return read_envelope(text, protocol, kind);
}

/// The envelope of a valid text.
Envelope good(std::string_view text, Protocol protocol, SocketKind kind = SocketKind::chat) {
  auto frame = read(text, protocol, kind);
  if (!frame) {
    ADD_FAILURE() << text << " was refused: " << testing::PrintToString(frame.error());
    return {};
  }
  return *frame;
}

/// The error of an invalid text.
EnvelopeError bad(std::string_view text, Protocol protocol, SocketKind kind = SocketKind::chat) {
  auto frame = read(text, protocol, kind);
  if (!frame) return frame.error();
  ADD_FAILURE() << text << " was accepted";
  return {ErrorCode::rate_limited, "", {}};
}

constexpr Protocol kBoth[] = {Protocol::plain, Protocol::v1};

TEST(Envelope, FindsTheValueByteForByte) {
  for (const auto protocol : kBoth) {
    for (const auto& json : json_texts()) {
      const auto first = json.find_first_not_of(" \t\r\n");
      const auto bare = json.substr(first, json.find_last_not_of(" \t\r\n") - first + 1);
      for (const auto& text :
           {"{\"message\":" + json + "}", "{\"message\":" + json + ",\"to_user\":\"bob\"}",
            "{\"to_user\":\"bob\",\"message\":" + json + "}",
            " { \"x\" : 1 ,\"message\" : " + json + " , \"y\" : [] } "}) {
        EXPECT_EQ(good(text, protocol).value, bare) << text;
      }
    }
  }
}

TEST(Envelope, InvalidJsonIsBadJson) {
  for (const auto protocol : kBoth) {
    for (const auto& json : no_json_texts()) {
      EXPECT_EQ(bad(json, protocol).code, ErrorCode::bad_json) << testing::PrintToString(json);
      if (json.find(',') == std::string::npos && json.find('}') == std::string::npos) {
        EXPECT_EQ(bad("{\"message\":" + json + "}", protocol).code, ErrorCode::bad_json)
            << testing::PrintToString(json);
        EXPECT_EQ(bad("{\"message\":1,\"other\":" + json + "}", protocol).code, ErrorCode::bad_json)
            << testing::PrintToString(json);
      }
    }
  }
}

TEST(Envelope, EveryPrefixOfAFrameIsBadJson) {
  const std::string text = R"( {"message": {"a":[1,"é"]}, "to_user":"bob", "id":"x", "z":0} )";
  for (const auto protocol : kBoth) {
    for (std::size_t size = 0; size < text.rfind('}') + 1; ++size) {
      EXPECT_EQ(bad(text.substr(0, size), protocol).code, ErrorCode::bad_json) << size;
    }
  }
}

TEST(Envelope, JsonOtherThanAnObjectIsABadEnvelope) {
  for (const auto protocol : kBoth) {
    for (const auto* text : {"null", "1", "\"message\"", "[]", "[{\"message\":1}]", " true "}) {
      EXPECT_EQ(bad(text, protocol).code, ErrorCode::bad_envelope) << text;
    }
  }
}

TEST(Envelope, NamesTheByteThatIsNotJson) {
  const auto error = bad(R"({"message":01})", Protocol::plain);
  EXPECT_THAT(error.detail, HasSubstr("byte 12"));
  EXPECT_THAT(error.detail, HasSubstr("leading zero"));
  EXPECT_THAT(bad("{\"a\":1} x", Protocol::v1).detail, HasSubstr("byte 8"));
  EXPECT_THAT(bad("", Protocol::v1).detail, HasSubstr("byte 0"));
}

TEST(Envelope, NamesAreComparedAfterUnescaping) {
  for (const auto protocol : kBoth) {
    EXPECT_EQ(good(R"({"mess\u0061ge":1})", protocol).value, "1");
    EXPECT_EQ(good(R"({"\u006d\u0065\u0073\u0073\u0061\u0067\u0065":2})", protocol).value, "2");
    const auto envelope = good(R"({"message":1,"to\u005Fuser":"bob"})", protocol);
    EXPECT_TRUE(envelope.has_to_user);
    EXPECT_EQ(envelope.to_user.view(), "bob");
  }
  EXPECT_EQ(good(R"({"message":1,"i\u0064":"x"})", Protocol::v1).id.view(), "x");
  EXPECT_EQ(good(R"({"s\u0069gnal":1})", Protocol::v1).kind, Envelope::Kind::signal);
  EXPECT_EQ(good(R"({"t\u006fken":"a"})", Protocol::v1).kind, Envelope::Kind::token);
}

TEST(Envelope, NamesAreComparedExactly) {
  for (const auto* text : {R"({"Message":1})", R"({"message ":1})", R"({"messag":1})",
                           R"({"messages":1})", R"({"message\u0000":1})", R"({"\u0000message":1})",
                           R"({"mess\u00e4ge":1})", R"({"":1})", R"({"mess\\u0061ge":1})"}) {
    EXPECT_EQ(bad(text, Protocol::v1).code, ErrorCode::bad_envelope) << text;
    EXPECT_EQ(good(text, Protocol::plain).value, "null") << text;
  }
  EXPECT_FALSE(good(R"({"message":1,"TO_USER":"carol"})", Protocol::v1).has_to_user);
}

TEST(Envelope, UnknownNamesAreIgnoredEvenIfRepeated) {
  for (const auto protocol : kBoth) {
    EXPECT_EQ(good(R"({"x":1,"x":2,"message":3,"x":[{"message":4}]})", protocol).value, "3");
  }
}

TEST(Envelope, AKnownNameTwiceIsABadEnvelope) {
  for (const auto protocol : kBoth) {
    for (const auto* text : {R"({"message":1,"message":1})", R"({"message":1,"mess\u0061ge":1})",
                             R"({"message":1,"to_user":"bob","to_user":"bob"})",
                             R"({"message":1,"to_user":null,"to_user":null})",
                             R"({"message":1,"to_user":null,"to_user":"bob"})"}) {
      EXPECT_EQ(bad(text, protocol).code, ErrorCode::bad_envelope) << text;
    }
  }
  for (const auto* text :
       {R"({"message":1,"id":"a","id":"a"})", R"({"message":1,"id":null,"id":"a"})",
        R"({"signal":1,"signal":2})", R"({"token":"a","token":"a"})"}) {
    EXPECT_EQ(bad(text, Protocol::v1).code, ErrorCode::bad_envelope) << text;
  }
}

TEST(Envelope, TwoKindsInOneFrameAreABadEnvelope) {
  for (const auto* text :
       {R"({"message":1,"signal":1})", R"({"signal":1,"token":"a"})",
        R"({"token":"a","message":1})", R"({"message":null,"signal":null,"token":"a"})"}) {
    EXPECT_EQ(bad(text, Protocol::v1).code, ErrorCode::bad_envelope) << text;
  }
}

TEST(Envelope, AV1FrameNeedsAKind) {
  for (const auto* text : {"{}", R"({"id":"a"})", R"({"to_user":"bob"})", R"({"ack":1})"}) {
    EXPECT_EQ(bad(text, Protocol::v1).code, ErrorCode::bad_envelope) << text;
  }
  EXPECT_EQ(good(R"({"message":null})", Protocol::v1).kind, Envelope::Kind::message);
}

TEST(Envelope, AMessageMissingInPlainIsNull) {
  EXPECT_EQ(good("{}", Protocol::plain).value, "null");
  EXPECT_EQ(good(R"({"to_user":"bob"})", Protocol::plain).value, "null");
}

TEST(Envelope, PlainIgnoresIdsSignalsAndTokens) {
  const auto envelope =
      good(R"({"message":1,"signal":2,"token":3,"id":4,"id":5,"signal":6})", Protocol::plain);
  EXPECT_EQ(envelope.kind, Envelope::Kind::message);
  EXPECT_EQ(envelope.value, "1");
  EXPECT_TRUE(envelope.id.empty());
  EXPECT_EQ(envelope.token, "");
}

TEST(Envelope, ToUserMayBeMissingOrNull) {
  for (const auto protocol : kBoth) {
    EXPECT_FALSE(good(R"({"message":1})", protocol).has_to_user);
    EXPECT_FALSE(good(R"({"message":1,"to_user":null})", protocol).has_to_user);
  }
}

TEST(Envelope, ToUserIsUnescaped) {
  for (const auto protocol : kBoth) {
    EXPECT_EQ(good(R"({"message":1,"to_user":"b\u006fb"})", protocol).to_user.view(), "bob");
    const std::string longest(64, 'z');
    EXPECT_EQ(good("{\"message\":1,\"to_user\":\"" + longest + "\"}", protocol).to_user.view(),
              longest);
  }
}

TEST(Envelope, AToUserThatIsNoUserIdIsEmpty) {
  for (const auto protocol : kBoth) {
    for (const auto& user : {std::string(), std::string("BOB"), std::string("b b"),
                             std::string("é"), std::string(R"(\ud800)"), std::string(65, 'z'),
                             std::string(100'000, 'z'), std::string(R"(bob\u0000)")}) {
      const auto envelope = good("{\"message\":1,\"to_user\":\"" + user + "\"}", protocol);
      EXPECT_TRUE(envelope.has_to_user) << user;
      EXPECT_TRUE(envelope.to_user.empty()) << user;
    }
  }
}

TEST(Envelope, AToUserOfAnotherKindIsABadEnvelope) {
  for (const auto protocol : kBoth) {
    for (const auto* user :
         {"1", "true", "false", "[]", "[\"bob\"]", "{}", "{\"a\":\"bob\"}", "-0.0"}) {
      const auto error = bad("{\"message\":1,\"to_user\":" + std::string(user) + "}", protocol);
      EXPECT_EQ(error.code, ErrorCode::bad_envelope) << user;
      EXPECT_THAT(error.detail, HasSubstr("to_user"));
    }
  }
}

TEST(Envelope, AnIdIsUnescaped) {
  EXPECT_EQ(good(R"({"message":1,"id":"aZ0_-"})", Protocol::v1).id.view(), "aZ0_-");
  EXPECT_EQ(good(R"({"message":1,"id":"\u0061"})", Protocol::v1).id.view(), "a");
  const std::string longest(64, '-');
  EXPECT_EQ(good("{\"message\":1,\"id\":\"" + longest + "\"}", Protocol::v1).id.view(), longest);
  EXPECT_TRUE(good(R"({"message":1,"id":null})", Protocol::v1).id.empty());
  EXPECT_TRUE(good(R"({"message":1})", Protocol::v1).id.empty());
}

TEST(Envelope, AnIdOfAnotherFormIsABadEnvelope) {
  for (const auto& id :
       {std::string("\"\""), std::string("\"a b\""), std::string("\"a.b\""), std::string("\"é\""),
        std::string(R"("\ud800")"), std::string("1"), std::string("true"), std::string("{}"),
        std::string("[]"), '"' + std::string(65, 'a') + '"', std::string(R"("a\u0000")")}) {
    const auto error = bad("{\"message\":1,\"id\":" + id + "}", Protocol::v1);
    EXPECT_EQ(error.code, ErrorCode::bad_envelope) << id;
    EXPECT_TRUE(error.id.empty()) << id;
  }
}

TEST(Envelope, MessageIdsAre1To64AllowedCharacters) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool good_byte = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                           (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
    EXPECT_EQ(is_message_id(std::string{c}), good_byte) << byte;
    EXPECT_EQ(is_message_id(std::string{'a', c}), good_byte) << byte;
  }
  EXPECT_FALSE(is_message_id(""));
  EXPECT_TRUE(is_message_id(std::string(64, 'a')));
  EXPECT_FALSE(is_message_id(std::string(65, 'a')));
}

TEST(Envelope, AnErrorHasTheIdWhereverItStood) {
  EXPECT_EQ(bad(R"({"id":"x","message":1,"message":2})", Protocol::v1).id.view(), "x");
  EXPECT_EQ(bad(R"({"message":1,"message":2,"id":"x"})", Protocol::v1).id.view(), "x");
  EXPECT_EQ(bad(R"({"message":1,"to_user":7,"id":"x"})", Protocol::v1).id.view(), "x");
  EXPECT_EQ(bad(R"({"id":"x"})", Protocol::v1).id.view(), "x");
}

TEST(Envelope, FindsTheSignalByteForByte) {
  const auto envelope = good(R"({"signal":{"typing" : true}})", Protocol::v1);
  EXPECT_EQ(envelope.kind, Envelope::Kind::signal);
  EXPECT_EQ(envelope.value, R"({"typing" : true})");
}

TEST(Envelope, APingCountsOnlyWithoutOtherKinds) {
  for (const auto kind : {SocketKind::chat, SocketKind::push}) {
    const auto envelope = good(R"({"p\u0069ng": {"n" : 1} ,"id":"x"})", Protocol::v1, kind);
    EXPECT_EQ(envelope.kind, Envelope::Kind::ping);
    EXPECT_EQ(envelope.value, R"({"n" : 1})");
    EXPECT_EQ(envelope.id.view(), "x");
    EXPECT_EQ(good(R"({"token":"a","ping":1,"ping":2})", Protocol::v1, kind).kind,
              Envelope::Kind::token);
    EXPECT_EQ(bad(R"({"ping":1,"ping":1,"id":"x"})", Protocol::v1, kind).id.view(), "x");
    EXPECT_EQ(bad(R"({"ping":1,"id":7})", Protocol::v1, kind).code, ErrorCode::bad_envelope);
  }
  // Next to another kind it is ignored.
  EXPECT_EQ(good(R"({"message":1,"ping":2})", Protocol::v1).value, "1");
  EXPECT_EQ(good(R"({"ping":2,"signal":3})", Protocol::v1).kind, Envelope::Kind::signal);
  EXPECT_EQ(bad(R"({"message":1,"ping":2})", Protocol::v1, SocketKind::push).code,
            ErrorCode::bad_envelope);
  EXPECT_EQ(good(R"({"ping":2})", Protocol::plain).value, "null");
}

TEST(Envelope, ATokenIsAStringOfAscii) {
  const auto envelope = good(R"({"token":"abc.d\u0065f-_"})", Protocol::v1);
  EXPECT_EQ(envelope.kind, Envelope::Kind::token);
  EXPECT_EQ(envelope.token, "abc.def-_");
  const std::string longest(20'000, 'e');
  EXPECT_EQ(good("{\"token\":\"" + longest + "\"}", Protocol::v1).token, longest);
  EXPECT_EQ(good(R"({"token":""})", Protocol::v1).token, "");
  for (const auto* token : {"1", "null", "{}", "[\"a\"]", "\"é\"", R"("\u00e9")"}) {
    EXPECT_EQ(bad("{\"token\":" + std::string(token) + "}", Protocol::v1).code,
              ErrorCode::bad_envelope)
        << token;
  }
}

TEST(Envelope, APushSocketAcceptsOnlyTokens) {
  EXPECT_EQ(good(R"({"token":"a"})", Protocol::v1, SocketKind::push).token, "a");
  EXPECT_EQ(bad(R"({"message":1})", Protocol::v1, SocketKind::push).code, ErrorCode::bad_envelope);
  EXPECT_EQ(bad(R"({"signal":1})", Protocol::v1, SocketKind::push).code, ErrorCode::bad_envelope);
  EXPECT_EQ(bad("{}", Protocol::v1, SocketKind::push).code, ErrorCode::bad_envelope);
  EXPECT_EQ(bad("{", Protocol::v1, SocketKind::push).code, ErrorCode::bad_json);
}

TEST(Envelope, NestingCountsFromTheEnvelope) {
  const auto message = [](std::size_t levels) {
    return "{\"message\":" + std::string(levels, '[') + std::string(levels, ']') + "}";
  };
  for (const auto protocol : kBoth) {
    EXPECT_EQ(good(message(511), protocol).value.size(), 1022U);
    EXPECT_EQ(bad(message(512), protocol).code, ErrorCode::bad_json);
    EXPECT_EQ(bad(message(50'000), protocol).code, ErrorCode::bad_json);
    EXPECT_EQ(bad(std::string(100'000, '['), protocol).code, ErrorCode::bad_json);
    std::string objects;
    for (int i = 0; i < 20'000; ++i) objects += "{\"message\":";
    EXPECT_EQ(bad(objects + "1" + std::string(20'000, '}'), protocol).code, ErrorCode::bad_json);
  }
}

TEST(Envelope, InvalidJsonIsReportedBeforeEnvelopeErrors) {
  EXPECT_EQ(bad(R"({"message":1,"message":2,)", Protocol::v1).code, ErrorCode::bad_json);
  EXPECT_EQ(bad(R"({"to_user":1}})", Protocol::v1).code, ErrorCode::bad_json);
}

TEST(Envelope, EveryErrorCodeHasAName) {
  EXPECT_EQ(error_code_name(ErrorCode::bad_json), "bad_json");
  EXPECT_EQ(error_code_name(ErrorCode::bad_envelope), "bad_envelope");
  EXPECT_EQ(error_code_name(ErrorCode::not_a_member), "not_a_member");
  EXPECT_EQ(error_code_name(ErrorCode::rate_limited), "rate_limited");
  EXPECT_EQ(error_code_name(ErrorCode::bad_token), "bad_token");
}

TEST(ShortText, HoldsUpToItsMaximum) {
  EXPECT_TRUE(ShortText().empty());
  EXPECT_EQ(ShortText().view(), "");
  EXPECT_EQ(ShortText(std::string_view()).view(), "");
  EXPECT_EQ(ShortText("abc").view(), "abc");
  const std::string longest(ShortText::kMaxBytes, 'x');
  const ShortText text(longest);
  const ShortText copy = text;
  EXPECT_EQ(copy.view(), longest);
  EXPECT_FALSE(copy.empty());
}

}  // namespace
}  // namespace waystation::test
