#include "cluster/resp.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "unit/cluster/redis_server.hpp"

namespace waystation::test {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

/// All replies in `pieces`, as lines.
std::vector<std::string> read(ReplyReader& reader, const std::vector<std::string_view>& pieces) {
  std::vector<std::string> lines;
  for (const auto piece : pieces) {
    std::span<const char> rest(piece);
    do {
      reader.feed(rest);
      while (const auto* reply = reader.next()) lines.push_back(to_line(*reply));
    } while (!rest.empty());
  }
  return lines;
}

constexpr std::string_view kStream =
    "+OK\r\n:-12\r\n$-1\r\n*-1\r\n$0\r\n\r\n-ERR no\r\n*0\r\n"
    "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\na\r\n\0b\r\n"
    "*2\r\n*2\r\n:1\r\n*1\r\n+deep\r\n*1\r\n$-1\r\n"sv;
const std::vector<std::string> kLines{"OK",
                                      "-12",
                                      "(nil)",
                                      "(nil)",
                                      "",
                                      "(error) ERR no",
                                      "[]",
                                      "[message c a\r\n\0b]"s,
                                      "[[1 [deep]] [(nil)]]"};

TEST(ReplyReader, RepliesMayBeSplitAtEveryByte) {
  for (std::size_t split = 0; split <= kStream.size(); ++split) {
    ReplyReader reader;
    EXPECT_EQ(read(reader, {kStream.substr(0, split), kStream.substr(split)}), kLines) << split;
  }
  ReplyReader reader;
  std::vector<std::string_view> bytes;
  for (std::size_t i = 0; i < kStream.size(); ++i) bytes.push_back(kStream.substr(i, 1));
  EXPECT_EQ(read(reader, bytes), kLines);
}

TEST(ReplyReader, ALongReplyIsWhole) {
  const std::string text(1'000'000, 'x');
  const auto reply = "*2\r\n$1000000\r\n" + text + "\r\n$1000000\r\n" + text + "\r\n";
  ReplyReader reader;
  EXPECT_EQ(read(reader, {reply, "+OK\r\n"}),
            (std::vector<std::string>{"[" + text + " " + text + "]", "OK"}));
}

TEST(ReplyReader, AReplyAboveTheLimitsFails) {
  const ReplyLimits limits{.bytes = 10'000, .elements = 100};
  const std::string filler(20'000, 'x');
  const auto fails = [&](const std::string& begin) {
    ReplyReader reader(limits);
    std::string_view rest = filler;
    EXPECT_TRUE(read(reader, {begin}).empty());
    while (!rest.empty() && !reader.has_failed()) {
      EXPECT_TRUE(read(reader, {rest.substr(0, 1000)}).empty());
      rest.remove_prefix(1000);
    }
    EXPECT_TRUE(reader.has_failed()) << begin;
    EXPECT_TRUE(read(reader, {"+OK\r\n"}).empty()) << "it has failed for good";
    return std::string(reader.problem());
  };
  EXPECT_EQ(fails("$2000000000\r\n"), "the reply is larger than 10000 bytes");
  EXPECT_EQ(fails("*5\r\n$3\r\nabc\r\n$999999\r\n"), "the reply is larger than 10000 bytes");
  EXPECT_EQ(fails("+no end of this line"), "the reply is larger than 10000 bytes");
  EXPECT_EQ(fails("*101\r\n"), "the reply has more than 100 elements");
  EXPECT_EQ(fails("*2147483647\r\n"), "the reply has more than 100 elements");
  EXPECT_EQ(fails("*60\r\n*60\r\n"), "the reply has more than 100 elements");

  ReplyReader reader(limits);
  std::string most = "*100\r\n";
  for (int i = 0; i < 100; ++i) most += ":1\r\n";
  EXPECT_EQ(read(reader, {most, most}).size(), 2U) << "the limits are for one reply";
}

TEST(ReplyReader, GarbageFails) {
  for (const auto text :
       {"HTTP/1.1 400\r\n"sv, "\0\0\0"sv, "*x\r\n"sv, ":1x\r\n"sv, "$-2\r\n"sv, "*1\r\n?\r\n"sv}) {
    ReplyReader reader;
    read(reader, {text});
    EXPECT_TRUE(reader.has_failed()) << text;
    EXPECT_FALSE(reader.problem().empty());
  }
}

TEST(ReplyReader, DeepNestingNeedsNoStack) {
  // The main() of the tests has a small stack.
  std::string nested;
  for (int i = 0; i < 200'000; ++i) nested += "*1\r\n";
  ReplyReader reader;
  read(reader, {nested});
  EXPECT_TRUE(reader.has_failed());
}

TEST(ReplyReader, ChangedBytesNeverBreakIt) {
  std::mt19937 random(20261129);
  for (int run = 0; run < 3000; ++run) {
    std::string stream(kStream);
    for (int change = 0; change < 3; ++change) {
      stream[random() % stream.size()] = static_cast<char>("*$+-:\r\n019x"[random() % 11]);
    }
    ReplyReader reader({.bytes = 1000, .elements = 50});
    read(reader, {stream, stream});
  }
}

TEST(Command, ArgumentsMayHoldAnyBytes) {
  std::string out = "before";
  const std::array<std::string_view, 4> arguments{"SET", "", "a\r\n\0b"sv, std::string_view()};
  append_command(out, arguments);
  EXPECT_EQ(out, "before*4\r\n$3\r\nSET\r\n$0\r\n\r\n$5\r\na\r\n\0b\r\n$0\r\n\r\n"sv);
}

TEST(Command, MayHaveManyArguments) {
  const std::vector<std::string_view> arguments(1000, "x");
  std::string out;
  append_command(out, arguments);
  ReplyReader reader;
  const auto lines = read(reader, {out});
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(std::ranges::count(lines.front(), 'x'), 1000);
}

}  // namespace
}  // namespace waystation::test
