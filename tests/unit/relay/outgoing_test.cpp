#include "relay/outgoing.hpp"

#include <cjson/cJSON.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "relay/json_scanner.hpp"

namespace waystation::test {
namespace {

std::string whole(const OutgoingText& text) {
  const auto joined = std::string(text.head) + std::string(text.value) + std::string(text.tail);
  EXPECT_EQ(text.size(), joined.size());
  EXPECT_TRUE(is_json(joined)) << joined;
  return joined;
}

Message message() {
  return {R"({"a" :1.0})", "alice_bob", "alice", "bob", "m-1", 1700000000123};
}

Message without_id() {
  auto m = message();
  m.id = {};
  return m;
}

Message notification() {
  return {R"("full")", {}, {}, "bob", {}, 1700000000123};
}

TEST(Outgoing, AChatMessageInPlain) {
  TextBuffer buffer;
  EXPECT_EQ(whole(chat_text(Protocol::plain, message(), buffer)), R"({"message":{"a" :1.0}})");
}

TEST(Outgoing, AChatMessageInV1) {
  TextBuffer buffer;
  EXPECT_EQ(whole(chat_text(Protocol::v1, message(), buffer)),
            R"({"message":{"a" :1.0},"from":"alice","id":"m-1","at":1700000000123})");
  EXPECT_EQ(whole(chat_text(Protocol::v1, without_id(), buffer)),
            R"({"message":{"a" :1.0},"from":"alice","id":null,"at":1700000000123})");
}

TEST(Outgoing, APushInPlain) {
  TextBuffer buffer;
  EXPECT_EQ(whole(push_text(Protocol::plain, message(), buffer)),
            R"({"event":{"message":{"a" :1.0},"group":"alice_bob"}})");
  EXPECT_EQ(whole(push_text(Protocol::plain, notification(), buffer)),
            R"({"event":{"message":"full","group":null}})");
}

TEST(Outgoing, APushInV1) {
  TextBuffer buffer;
  EXPECT_EQ(
      whole(push_text(Protocol::v1, message(), buffer)),
      R"({"event":{"message":{"a" :1.0},"group":"alice_bob","from":"alice","id":"m-1","at":1700000000123}})");
  EXPECT_EQ(
      whole(push_text(Protocol::v1, notification(), buffer)),
      R"({"event":{"message":"full","group":null,"from":null,"id":null,"at":1700000000123}})");
}

TEST(Outgoing, TheValueIsNotCopied) {
  TextBuffer buffer;
  const auto m = message();
  EXPECT_EQ(chat_text(Protocol::plain, m, buffer).value.data(), m.value.data());
  EXPECT_EQ(chat_text(Protocol::v1, m, buffer).value.data(), m.value.data());
  EXPECT_EQ(push_text(Protocol::v1, m, buffer).value.data(), m.value.data());
  EXPECT_EQ(signal_text(m.value, "alice", buffer).value.data(), m.value.data());
}

TEST(Outgoing, ASignal) {
  TextBuffer buffer;
  EXPECT_EQ(whole(signal_text(R"({"typing":true})", "alice", buffer)),
            R"({"signal":{"typing":true},"from":"alice"})");
}

TEST(Outgoing, AnAckNamesTheRoute) {
  TextBuffer buffer;
  EXPECT_EQ(whole(ack_text(message(), {Route::chat, 2}, buffer)),
            R"({"ack":{"id":"m-1","route":"chat","reached":2,"at":1700000000123}})");
  EXPECT_EQ(whole(ack_text(message(), {Route::push, 11}, buffer)),
            R"({"ack":{"id":"m-1","route":"push","reached":11,"at":1700000000123}})");
  EXPECT_EQ(whole(ack_text(without_id(), {Route::none, 0}, buffer)),
            R"({"ack":{"id":null,"route":"none","reached":0,"at":1700000000123}})");
}

TEST(Outgoing, Presence) {
  TextBuffer buffer;
  EXPECT_EQ(whole(presence_text("bob", true, true, buffer)),
            R"({"presence":{"user":"bob","present":true,"reachable":true}})");
  EXPECT_EQ(whole(presence_text("7", false, false, buffer)),
            R"({"presence":{"user":"7","present":false,"reachable":false}})");
  EXPECT_EQ(whole(presence_text("7", false, std::nullopt, buffer)),
            R"({"presence":{"user":"7","present":false}})");
}

TEST(Outgoing, TheBufferHoldsTheLongestNames) {
  const std::string lo(kMaxUserBytes, 'a');
  const std::string hi(kMaxUserBytes, 'b');
  const std::string id(ShortText::kMaxBytes, 'i');
  const auto group = lo + "_" + hi;
  const Message longest{"1", group, lo, hi, id, std::numeric_limits<std::int64_t>::max()};
  TextBuffer buffer;
  EXPECT_EQ(whole(push_text(Protocol::v1, longest, buffer)),
            "{\"event\":{\"message\":1,\"group\":\"" + group + "\",\"from\":\"" + lo +
                "\",\"id\":\"" + id + "\",\"at\":9223372036854775807}}");
  whole(chat_text(Protocol::v1, longest, buffer));
  whole(ack_text(longest, {Route::none, std::numeric_limits<std::size_t>::max()}, buffer));
  whole(presence_text(lo, false, false, buffer));
}

TEST(Outgoing, AnErrorHasTheIdIfThereIsOne) {
  EXPECT_EQ(error_text(ErrorCode::bad_envelope, "no", ""),
            R"({"error":{"code":"bad_envelope","detail":"no"}})");
  EXPECT_EQ(error_text(ErrorCode::rate_limited, "slowly", "m-1"),
            R"({"error":{"code":"rate_limited","detail":"slowly","id":"m-1"}})");
}

TEST(Outgoing, AnErrorsDetailIsEscaped) {
  std::string detail = "\"quoted\" \\ back\nslash \xc3\xa9 ";
  for (char c = 0; c < 0x20; ++c) detail += c == 0 ? ' ' : c;
  const auto text = error_text(ErrorCode::bad_json, detail, "");
  ASSERT_TRUE(is_json(text)) << text;
  auto* json = cJSON_Parse(text.c_str());
  const auto* error = cJSON_GetObjectItemCaseSensitive(json, "error");
  EXPECT_EQ(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(error, "detail")), detail);
  cJSON_Delete(json);
  EXPECT_TRUE(is_json(error_text(ErrorCode::bad_json, std::string(1, '\0'), "")));
}

TEST(Outgoing, EveryRouteHasAName) {
  EXPECT_EQ(route_name(Route::none), "none");
  EXPECT_EQ(route_name(Route::chat), "chat");
  EXPECT_EQ(route_name(Route::push), "push");
}

}  // namespace
}  // namespace waystation::test
