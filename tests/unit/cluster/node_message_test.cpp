#include "cluster/node_message.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>

#include "cluster/events.hpp"

namespace waystation::test {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

std::shared_ptr<const SealKeys> keys() {
  return *SealKeys::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
}

NodeHeader header_of_message() {
  NodeHeader header;
  header.kind = NodeMessageKind::message;
  header.to_side = Side::hi;
  header.from_protocol = Protocol::v1;
  header.at = 1'795'000'000'123;
  header.socket = 77;
  header.group = "alice_bob";
  header.from = "alice";
  header.to = "bob";
  header.id = "m-1";
  return header;
}

class NodeMessageTest : public testing::Test {
 protected:
  /// A frame behind `before`.
  std::string frame(const NodeHeader& header, std::string_view body, std::string before = {}) {
    const auto begin = before.size();
    header_bytes_ = write_node_message(before, header, body, sealer_);
    return before.substr(begin);
  }

  std::string problem_with(std::string_view bytes) {
    const auto read = read_node_message(bytes);
    return read ? "" : std::string(read.error());
  }

  Sealer sealer_{*keys(), "main", Incarnation::random()};
  Opener opener_{keys(), "main"};
  std::size_t header_bytes_ = 0;
};

TEST_F(NodeMessageTest, ArrivesAsItWasSent) {
  const auto sent = header_of_message();
  const auto bytes = frame(sent, R"({"a": 1})", "something before");
  const auto read = read_node_message(bytes);
  ASSERT_TRUE(read) << read.error();
  const auto& header = read->header;
  EXPECT_EQ(header.kind, sent.kind);
  EXPECT_EQ(header.to_side, sent.to_side);
  EXPECT_EQ(header.from_protocol, sent.from_protocol);
  EXPECT_EQ(header.key_id, sealer_.key_id());
  EXPECT_EQ(header.origin, sealer_.incarnation());
  EXPECT_EQ(header.sequence, 1U);
  EXPECT_EQ(header.at, sent.at);
  EXPECT_EQ(header.socket, 77U);
  EXPECT_EQ(header.group, "alice_bob");
  EXPECT_EQ(header.from, "alice");
  EXPECT_EQ(header.to, "bob");
  EXPECT_EQ(header.id, "m-1");
  EXPECT_EQ(read->body_bytes, 8U);
  EXPECT_EQ(read->header_bytes.size(), header_bytes_);
  std::string body;
  EXPECT_TRUE(open_node_message(*read, opener_, Opener::Copy::receiver, body));
  EXPECT_EQ(body, R"({"a": 1})");
  EXPECT_EQ(bytes.find(R"("a")"), std::string::npos) << "the engine sees no content";
}

TEST_F(NodeMessageTest, AHeaderAloneIsReadable) {
  const auto bytes = frame(header_of_message(), "value");
  const auto read = read_node_message(std::string_view(bytes).substr(0, header_bytes_));
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->header.id, "m-1");
  EXPECT_EQ(read->body_bytes, 5U);
  EXPECT_TRUE(read->sealed.empty());
  std::string body;
  EXPECT_FALSE(open_node_message(*read, opener_, Opener::Copy::receiver, body));
}

TEST_F(NodeMessageTest, EveryOtherLengthIsRefused) {
  const auto bytes = frame(header_of_message(), "value");
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    if (size == header_bytes_) continue;
    EXPECT_FALSE(read_node_message(std::string_view(bytes).substr(0, size))) << size;
  }
  EXPECT_FALSE(read_node_message(bytes + "x"));
}

TEST_F(NodeMessageTest, EveryChangeIsNoticed) {
  const auto bytes = frame(header_of_message(), "value");
  for (std::size_t i = 0; i < bytes.size() * 8; ++i) {
    auto changed = bytes;
    changed[i / 8] = static_cast<char>(changed[i / 8] ^ 1 << (i % 8));
    const auto read = read_node_message(changed);
    std::string body;
    EXPECT_FALSE(read && open_node_message(*read, opener_, Opener::Copy::receiver, body))
        << "bit " << i;
  }
}

TEST_F(NodeMessageTest, NamesAreChecked) {
  auto header = header_of_message();
  header.group = "bob_alice";
  EXPECT_EQ(problem_with(frame(header, "")), "its group is not one");
  header = header_of_message();
  header.from = "Alice";
  EXPECT_EQ(problem_with(frame(header, "")), "a user of it is not one");
  header = header_of_message();
  header.to = "b\nob";
  EXPECT_EQ(problem_with(frame(header, "")), "a user of it is not one");
  header = header_of_message();
  header.id = "a b";
  EXPECT_EQ(problem_with(frame(header, "")), "its id is not one");
  header = header_of_message();
  header.kind = static_cast<NodeMessageKind>(kMaxNodeMessageKind + 1);
  EXPECT_EQ(problem_with(frame(header, "")), "its kind is unknown");

  NodeHeader empty;
  empty.kind = NodeMessageKind::notification;
  empty.to = std::string_view();
  EXPECT_EQ(problem_with(frame(empty, "")), "") << "a notification has no group, sender or id";
}

TEST_F(NodeMessageTest, TheLongestNamesFit) {
  const std::string a(64, 'a');
  const std::string b(64, 'b');
  const auto group = a + "_" + b;
  auto header = header_of_message();
  header.group = group;
  header.from = a;
  header.to = b;
  header.id = b;
  const auto bytes = frame(header, "x");
  const auto read = read_node_message(bytes);
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->header.group, group);
}

TEST(ClusterEvent, ReportsOfScripts) {
  const auto verdict = read_event("V2\0\0\1\2frame"sv);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->verdict, Verdict::push);
  EXPECT_EQ(verdict->reached, 258U);
  EXPECT_EQ(verdict->frame, "frame");

  const auto presence = read_event("S21alice_bob");
  ASSERT_TRUE(presence);
  EXPECT_EQ(presence->presence, Presence::unknown);
  EXPECT_EQ(presence->side, Side::hi);
  EXPECT_EQ(presence->name, "alice_bob");

  const auto reachable = read_event("R1bob");
  ASSERT_TRUE(reachable);
  EXPECT_EQ(reachable->presence, Presence::present);
  EXPECT_EQ(reachable->name, "bob");

  const auto recount = read_event(
      "Q\0\0\0\5"
      "012"sv);
  ASSERT_TRUE(recount);
  EXPECT_EQ(recount->token, 5U);
  EXPECT_EQ(recount->states, "012");

  const std::string hex(32, 'a');
  const auto gone_text = "G1" + hex + "node-1";
  const auto gone = read_event(gone_text);
  ASSERT_TRUE(gone);
  EXPECT_TRUE(gone->is_settled);
  EXPECT_EQ(gone->incarnation, hex);
  EXPECT_EQ(gone->name, "node-1");
  const auto never_came_text = "G0" + std::string(32, '-') + "node-1";
  const auto never_came = read_event(never_came_text);
  ASSERT_TRUE(never_came);
  EXPECT_FALSE(never_came->is_settled);
  EXPECT_EQ(never_came->incarnation, "");
}

TEST(ClusterEvent, EverythingElseIsRefused) {
  for (const auto text : {""sv, "X"sv, "V"sv, "V5\0\0\0\0"sv, "V1\0\0\0"sv, "S3"sv, "S"sv, "S12"sv,
                          "R3bob"sv, "Q\0\0\0"sv,
                          "Q\0\0\0\0"
                          "3"sv,
                          "G1abc"sv, "A2"sv}) {
    EXPECT_FALSE(read_event(text)) << text;
  }
}

}  // namespace
}  // namespace waystation::test
