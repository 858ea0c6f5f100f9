#include "websocket/frame_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "unit/websocket/allocations.hpp"
#include "unit/websocket/frames.hpp"

namespace waystation::test {
namespace {

using test::close_frame;
using test::Frame;
using test::kBinary;
using test::kClose;
using test::kContinuation;
using test::kPing;
using test::kPong;
using test::kText;
using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::string_literals;

/// Records the output of a reader.
class Recorder final : public FrameHandler {
 public:
  bool on_message(Opcode opcode, std::string_view payload) override {
    note(opcode == Opcode::text ? "text " : "binary ", payload);
    return go_on;
  }
  bool on_ping(std::string_view payload) override {
    note("ping ", payload);
    return go_on;
  }
  bool on_pong(std::string_view payload) override {
    note("pong ", payload);
    return go_on;
  }
  void on_close(CloseCode code, std::string_view reason) override {
    note("close " + std::to_string(static_cast<int>(code)) + " ", reason);
  }

  std::vector<std::string> seen;
  bool go_on = true;

 private:
  void note(std::string what, std::string_view payload) { seen.push_back(what.append(payload)); }
};

/// The result of an input: the output, and the close code, or 0.
struct Outcome {
  std::vector<std::string> seen;
  int refused = 0;
  bool unfinished = false;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

void PrintTo(const Outcome& outcome, std::ostream* out) {
  for (const auto& event : outcome.seen) *out << '[' << event.substr(0, 60) << "] ";
  if (outcome.refused != 0) *out << "refused with " << outcome.refused;
  if (outcome.unfinished) *out << "unfinished";
}

constexpr FrameLimits kTextOnly{65536, false};
constexpr FrameLimits kBoth{65536, true};

constexpr std::size_t kAllFrames = std::numeric_limits<std::size_t>::max();

/// Feeds the pieces, each in a separate block of exactly its size, `frames` frames at a time.
Outcome feed(const std::vector<std::string>& pieces, const FrameLimits& limits = kTextOnly,
             std::size_t frames = kAllFrames) {
  FrameReader reader(limits);
  Recorder recorder;
  for (const auto& piece : pieces) {
    std::vector<char> bytes(piece.begin(), piece.end());
    std::span<char> unread = bytes;
    do {
      if (const auto code = reader.feed(unread, recorder, frames)) {
        return {recorder.seen, static_cast<int>(*code), false};
      }
      if (!recorder.seen.empty() && recorder.seen.back().starts_with("close")) {
        return {recorder.seen, 0, false};
      }
    } while (!unread.empty());
  }
  return {recorder.seen, 0, reader.is_unfinished()};
}

/// The outcome of `bytes`. It must not depend on how the bytes are split, or on the number of
/// frames per call.
Outcome read(const std::string& bytes, const FrameLimits& limits = kTextOnly) {
  const auto whole = feed({bytes}, limits);
  EXPECT_EQ(feed({bytes}, limits, 1), whole) << "frame by frame";
  std::vector<std::string> single;
  for (const char c : bytes) single.emplace_back(1, c);
  EXPECT_EQ(feed(single, limits), whole) << "byte by byte";
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    const auto outcome = feed({bytes.substr(0, cut), bytes.substr(cut)}, limits);
    if (outcome != whole) {
      EXPECT_EQ(outcome, whole) << "cut at " << cut;
      break;
    }
  }
  return whole;
}

std::string text(std::string payload) {
  return Frame{.payload = std::move(payload)}.bytes();
}
std::string ping(std::string payload) {
  return Frame{.opcode = kPing, .payload = std::move(payload)}.bytes();
}
std::string part(unsigned opcode, std::string payload, bool fin) {
  return Frame{.opcode = opcode, .payload = std::move(payload), .fin = fin}.bytes();
}

// ---- one case per rule of the RFC ------------------------------------------------------------

struct Rule {
  const char* section;
  const char* says;
  std::string bytes;
  Outcome outcome;
  FrameLimits limits = kTextOnly;
};

void PrintTo(const Rule& rule, std::ostream* out) {
  *out << rule.section << ' ' << rule.says;
}

const Outcome kProtocolError{{}, 1002, false};

const std::vector<Rule>& rules() {
  static const std::vector<Rule> table = {
      {"5.1", "frames of a client are masked", Frame{.payload = "hi", .masked = false}.bytes(),
       kProtocolError},
      {"5.1", "control frames of a client are masked",
       Frame{.opcode = kPing, .payload = "hi", .masked = false}.bytes(), kProtocolError},
      {"5.2", "RSV1 is 0 without an extension", Frame{.payload = "hi", .reserved = 4}.bytes(),
       kProtocolError},
      {"5.2", "RSV2 is 0 without an extension", Frame{.payload = "hi", .reserved = 2}.bytes(),
       kProtocolError},
      {"5.2", "RSV3 is 0 without an extension", Frame{.payload = "hi", .reserved = 1}.bytes(),
       kProtocolError},
      {"5.2", "RSV1 is 0 in control frames too", Frame{.opcode = kPing, .reserved = 4}.bytes(),
       kProtocolError},
      {"5.2", "RSV1 is 0 in continuations too",
       part(kText, "a", false) + Frame{.opcode = kContinuation, .reserved = 4}.bytes(),
       kProtocolError},
      {"5.2", "opcode 3 is reserved", Frame{.opcode = 3}.bytes(), kProtocolError},
      {"5.2", "opcode 4 is reserved", Frame{.opcode = 4}.bytes(), kProtocolError},
      {"5.2", "opcode 5 is reserved", Frame{.opcode = 5}.bytes(), kProtocolError},
      {"5.2", "opcode 6 is reserved", Frame{.opcode = 6}.bytes(), kProtocolError},
      {"5.2", "opcode 7 is reserved", Frame{.opcode = 7}.bytes(), kProtocolError},
      {"5.2", "opcode B is reserved", Frame{.opcode = 0xB}.bytes(), kProtocolError},
      {"5.2", "opcode C is reserved", Frame{.opcode = 0xC}.bytes(), kProtocolError},
      {"5.2", "opcode D is reserved", Frame{.opcode = 0xD}.bytes(), kProtocolError},
      {"5.2", "opcode E is reserved", Frame{.opcode = 0xE}.bytes(), kProtocolError},
      {"5.2", "opcode F is reserved", Frame{.opcode = 0xF}.bytes(), kProtocolError},
      {"5.2", "a length of 0", text(""), {{"text "}, 0, false}},
      {"5.2", "a length of 1", text("a"), {{"text a"}, 0, false}},
      {"5.2",
       "a length of 125 fits seven bits",
       text(std::string(125, 'a')),
       {{"text " + std::string(125, 'a')}, 0, false}},
      {"5.2",
       "a length of 126 takes 16 bits",
       text(std::string(126, 'a')),
       {{"text " + std::string(126, 'a')}, 0, false}},
      {"5.2", "125 in 16 bits is not minimal",
       Frame{.payload = std::string(125, 'a'), .length = Frame::Length::in_16_bits}.bytes(),
       kProtocolError},
      {"5.2", "0 in 16 bits is not minimal", Frame{.length = Frame::Length::in_16_bits}.bytes(),
       kProtocolError},
      {"5.2", "125 in 64 bits is not minimal",
       Frame{.payload = std::string(125, 'a'), .length = Frame::Length::in_64_bits}.bytes(),
       kProtocolError},
      {"5.2", "126 in 64 bits is not minimal",
       Frame{.payload = std::string(126, 'a'), .length = Frame::Length::in_64_bits}.bytes(),
       kProtocolError},
      {"5.2", "65535 in 64 bits is not minimal",
       Frame{.length = Frame::Length::in_64_bits, .claimed = 65535}.bytes(), kProtocolError},
      {"5.2", "the top bit of a length in 64 bits is 0",
       Frame{.length = Frame::Length::in_64_bits, .claimed = 1ULL << 63}.bytes(), kProtocolError},
      {"5.3",
       "a mask of zeros is a mask",
       Frame{.payload = "hi", .mask = {0, 0, 0, 0}}.bytes(),
       {{"text hi"}, 0, false}},
      {"5.3",
       "the RFC's example of a masked text",
       "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"s,
       {{"text Hello"}, 0, false}},
      {"5.4",
       "a message of two fragments",
       part(kText, "Hel", false) + part(kContinuation, "lo", true),
       {{"text Hello"}, 0, false}},
      {"5.4",
       "a message of many fragments, some of them empty",
       part(kText, "", false) + part(kContinuation, "a", false) + part(kContinuation, "", false) +
           part(kContinuation, "b", false) + part(kContinuation, "", true),
       {{"text ab"}, 0, false}},
      {"5.4",
       "a message of empty fragments",
       part(kText, "", false) + part(kContinuation, "", false) + part(kContinuation, "", true),
       {{"text "}, 0, false}},
      {"5.4", "a continuation continues something", part(kContinuation, "a", true), kProtocolError},
      {"5.4", "a continuation that goes on continues something", part(kContinuation, "a", false),
       kProtocolError},
      {"5.4",
       "nothing continues after the last fragment",
       part(kText, "a", false) + part(kContinuation, "b", true) + part(kContinuation, "c", true),
       {{"text ab"}, 1002, false}},
      {"5.4", "a text does not begin within another", part(kText, "a", false) + text("b"),
       kProtocolError},
      {"5.4", "a binary message does not begin within a text",
       part(kText, "a", false) + part(kBinary, "b", true), kProtocolError, kBoth},
      {"5.4",
       "control frames come between fragments",
       part(kText, "a", false) + ping("1") + part(kContinuation, "b", false) +
           Frame{.opcode = kPong, .payload = "2"}.bytes() + part(kContinuation, "c", true),
       {{"ping 1", "pong 2", "text abc"}, 0, false}},
      {"5.4",
       "a Close comes between fragments",
       part(kText, "a", false) + close_frame(1000),
       {{"close 1000 "}, 0, false}},
      {"5.4",
       "messages follow one another",
       text("a") + text("b") + text(""),
       {{"text a", "text b", "text "}, 0, false}},
      {"5.5", "control frames are not fragmented",
       Frame{.opcode = kPing, .payload = "a", .fin = false}.bytes(), kProtocolError},
      {"5.5", "a Close is not fragmented", Frame{.opcode = kClose, .fin = false}.bytes(),
       kProtocolError},
      {"5.5",
       "a control frame of 125 bytes",
       ping(std::string(125, 'p')),
       {{"ping " + std::string(125, 'p')}, 0, false}},
      {"5.5", "a Ping has no more than 125 bytes", ping(std::string(126, 'p')), kProtocolError},
      {"5.5", "a Pong has no more than 125 bytes",
       Frame{.opcode = kPong, .payload = std::string(126, 'p')}.bytes(), kProtocolError},
      {"5.5", "a Close has no more than 125 bytes", close_frame(1000, std::string(124, 'r')),
       kProtocolError},
      {"5.5", "a control frame has no length in 64 bits",
       Frame{.opcode = kPing, .length = Frame::Length::in_64_bits}.bytes(), kProtocolError},
      {"5.5.1",
       "a Close without a code",
       Frame{.opcode = kClose}.bytes(),
       {{"close 1005 "}, 0, false}},
      {"5.5.1", "a Close of one byte has half a code",
       Frame{.opcode = kClose, .payload = "\x03"}.bytes(), kProtocolError},
      {"5.5.1", "a Close with a code", close_frame(1000), {{"close 1000 "}, 0, false}},
      {"5.5.1", "a Close with a reason", close_frame(1001, "bye"), {{"close 1001 bye"}, 0, false}},
      {"5.5.1",
       "a reason of 123 bytes",
       close_frame(1000, std::string(123, 'r')),
       {{"close 1000 " + std::string(123, 'r')}, 0, false}},
      {"5.5.1", "a reason is UTF-8", close_frame(1000, "\xff"), {{}, 1007, false}},
      {"5.5.1", "a reason is whole UTF-8", close_frame(1000, "\xe2\x82"), {{}, 1007, false}},
      {"5.5.1",
       "nothing is read after a Close",
       close_frame(1000) + text("late") + "\xff\xff",
       {{"close 1000 "}, 0, false}},
      {"5.5.2", "a Ping without a payload", ping(""), {{"ping "}, 0, false}},
      {"5.5.2",
       "a Ping's payload is any bytes",
       ping("\x00\xff\xfe"s),
       {{"ping \x00\xff\xfe"s}, 0, false}},
      {"5.5.3",
       "a Pong that nobody asked for",
       Frame{.opcode = kPong, .payload = "x"}.bytes(),
       {{"pong x"}, 0, false}},
      {"5.6",
       "a text is UTF-8",
       text("\xe9\xa9\xbf\xe7\xab\x99"),
       {{"text \xe9\xa9\xbf\xe7\xab\x99"}, 0, false}},
      {"5.6",
       "a binary message where such are taken",
       part(kBinary, "\xff\x00"s, true),
       {{"binary \xff\x00"s}, 0, false},
       kBoth},
      {"5.6",
       "fragments of a binary message are cut anywhere",
       part(kBinary, "\xe2\x82", false) + part(kContinuation, "\xff", true),
       {{"binary \xe2\x82\xff"}, 0, false},
       kBoth},
      {"7.4.1",
       "a binary message where none are taken",
       part(kBinary, "a", true),
       {{}, 1003, false}},
      {"7.4.1",
       "an empty binary message where none are taken",
       part(kBinary, "", true),
       {{}, 1003, false}},
      {"7.4.1",
       "a fragmented binary message where none are taken",
       part(kBinary, "a", false),
       {{}, 1003, false}},
      {"8.1", "a byte that UTF-8 never has", text("ab\xff"), {{}, 1007, false}},
      {"8.1", "an overlong form", text("\xc0\x80"), {{}, 1007, false}},
      {"8.1", "a surrogate", text("\xed\xa0\x80"), {{}, 1007, false}},
      {"8.1", "beyond U+10FFFF", text("\xf4\x90\x80\x80"), {{}, 1007, false}},
      {"8.1", "a text that ends within a character", text("a\xe2\x82"), {{}, 1007, false}},
      {"8.1",
       "a character cut in two by fragments",
       part(kText, "\xe2", false) + part(kContinuation, "\x82", false) +
           part(kContinuation, "\xac", true),
       {{"text \xe2\x82\xac"}, 0, false}},
      {"8.1",
       "fragments that end within a character",
       part(kText, "\xe2\x82", false) + part(kContinuation, "", true),
       {{}, 1007, false}},
      {"8.1",
       "a wrong byte in the first of several fragments",
       part(kText, "\xff", false),
       {{}, 1007, false}},
      {"8.1",
       "a fragment that breaks the character of the one before",
       part(kText, "\xe2\x82", false) + part(kContinuation, "a", false),
       {{}, 1007, false}},
      {"8.1",
       "a Ping within a character of a fragmented text",
       part(kText, "\xe2\x82", false) + ping("\xff") + part(kContinuation, "\xac", true),
       {{"ping \xff", "text \xe2\x82\xac"}, 0, false}},
      {"8.1",
       "each text begins anew",
       text("\xc3\xa9") + text("\xa9"),
       {{"text \xc3\xa9"}, 1007, false}},
      {"9.1", "no extension was agreed on", Frame{.payload = "\xf2\x48", .reserved = 4}.bytes(),
       kProtocolError},
  };
  return table;
}

class Rfc6455 : public testing::TestWithParam<Rule> {};

TEST_P(Rfc6455, HoldsForInputSplitAnywhere) {
  const auto& rule = GetParam();
  EXPECT_EQ(read(rule.bytes, rule.limits), rule.outcome) << rule.section << ": " << rule.says;
}

INSTANTIATE_TEST_SUITE_P(Section, Rfc6455, testing::ValuesIn(rules()), [](const auto& rule) {
  // Such as "5_2_opcode_3_is_reserved".
  auto name = std::string(rule.param.section) + "_" + rule.param.says;
  for (auto& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
});

TEST(FrameReader, AcceptsExactlyTheValidCloseCodes) {
  for (unsigned code = 0; code <= 0xFFFF; ++code) {
    const auto outcome = feed({close_frame(code)});
    if (may_be_sent(static_cast<std::uint16_t>(code))) {
      ASSERT_THAT(outcome.seen, ElementsAre("close " + std::to_string(code) + " "));
    } else {
      ASSERT_EQ(outcome.refused, 1002) << code;
      ASSERT_THAT(outcome.seen, IsEmpty()) << code;
    }
  }
}

// ---- masking and splitting -------------------------------------------------------------------

TEST(FrameReader, UnmasksEveryLengthSplitAnywhere) {
  // The mask has four phases, and bytes are unmasked in blocks. So this tests every length up to a
  // few blocks, in two and three pieces.
  std::string pattern(90, ' ');
  for (std::size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<char>('!' + i);
  for (std::size_t size = 0; size < pattern.size(); ++size) {
    const auto bytes = text(pattern.substr(0, size));
    const Outcome expected{{"text " + pattern.substr(0, size)}, 0, false};
    ASSERT_EQ(read(bytes), expected) << size;
  }
  const auto bytes = text(pattern);
  for (std::size_t first = 6; first < bytes.size(); ++first) {
    for (std::size_t second = first; second < bytes.size(); ++second) {
      ASSERT_THAT(
          feed({bytes.substr(0, first), bytes.substr(first, second - first), bytes.substr(second)})
              .seen,
          ElementsAre("text " + pattern))
          << first << ' ' << second;
    }
  }
}

TEST(FrameReader, ChecksALongTextSplitAnywhere) {
  std::string payload;
  while (payload.size() < 300) payload += "\xe9\xa9\xbf.\xf0\x9f\x90\x8e";
  EXPECT_EQ(read(text(payload)), (Outcome{{"text " + payload}, 0, false}));
  payload[250] = '\xff';
  EXPECT_EQ(read(text(payload)), (Outcome{{}, 1007, false}));

  // A character that whole blocks interrupt, and that ends after them.
  const std::string begun = "\xe9\xa9";
  const auto bytes = text(begun + std::string(192, 'a') + "\xbf");
  const auto header = bytes.size() - begun.size() - 192 - 1;
  const auto blocks = header + begun.size();
  const std::vector<std::string> pieces{bytes.substr(0, blocks), bytes.substr(blocks, 192),
                                        bytes.substr(blocks + 192)};
  EXPECT_EQ(feed(pieces), (Outcome{{}, 1007, false}));
}

TEST(FrameReader, UsesTheMaskOfEachFrame) {
  const auto bytes =
      Frame{.payload = "abcde", .fin = false, .mask = {1, 2, 3, 4}}.bytes() +
      Frame{.opcode = kPing, .payload = "xyz", .mask = {9, 9, 9, 9}}.bytes() +
      Frame{.opcode = kContinuation, .payload = "fghij", .mask = {5, 6, 7, 8}}.bytes();
  EXPECT_THAT(read(bytes).seen, ElementsAre("ping xyz", "text abcdefghij"));
}

TEST(FrameReader, AcceptsTheBoundaryLengthsOfEachForm) {
  for (const std::size_t size : {0U, 1U, 125U, 126U, 127U, 128U, 65535U, 65536U}) {
    const std::string payload(size, 'x');
    const auto bytes = text(payload);
    EXPECT_THAT(feed({bytes}).seen, ElementsAre("text " + payload)) << size;
    std::vector<std::string> single;
    for (const char c : bytes) single.emplace_back(1, c);
    EXPECT_THAT(feed(single).seen, ElementsAre("text " + payload)) << size << ", byte by byte";
    for (std::size_t cut = 1; cut < std::min<std::size_t>(16, bytes.size()); ++cut) {
      EXPECT_THAT(feed({bytes.substr(0, cut), bytes.substr(cut)}).seen,
                  ElementsAre("text " + payload))
          << size << ", cut at " << cut;
    }
  }
}

TEST(FrameReader, ReadsAStreamSplitAnywhere) {
  constexpr unsigned kSeed = 6455;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    std::string bytes;
    std::vector<std::string> expected;
    const auto piece = [&random] {
      std::string payload(random() % 3 == 0 ? random() % 300 : random() % 8, ' ');
      for (auto& c : payload) c = static_cast<char>('a' + random() % 26);
      return payload;
    };
    const auto frame = [&](unsigned opcode, const std::string& payload, bool fin) {
      Frame f{.opcode = opcode, .payload = payload, .fin = fin};
      for (auto& byte : f.mask) byte = static_cast<unsigned char>(random());
      bytes += f.bytes();
    };
    for (auto messages = 1 + random() % 5; messages != 0; --messages) {
      const bool binary = random() % 4 == 0;
      std::string whole;
      const auto fragments = random() % 4;
      for (std::size_t i = 0; i <= fragments; ++i) {
        const auto payload = piece();
        whole += payload;
        frame(i != 0 ? kContinuation : binary ? kBinary : kText, payload, i == fragments);
        if (i != fragments && random() % 2 == 0) {
          const auto control = piece().substr(0, 125);
          const bool is_ping = random() % 2 == 0;
          frame(is_ping ? kPing : kPong, control, true);
          expected.push_back((is_ping ? "ping " : "pong ") + control);
        }
      }
      expected.push_back((binary ? "binary " : "text ") + whole);
    }
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < bytes.size();) {
      const auto size = 1 + random() % (random() % 2 == 0 ? 4 : 200);
      pieces.push_back(bytes.substr(at, size));
      at += size;
    }
    ASSERT_EQ(feed(pieces, kBoth), (Outcome{expected, 0, false})) << "round " << round;
    ASSERT_EQ(feed({bytes}, kBoth), (Outcome{expected, 0, false})) << "round " << round;
  }
}

TEST(FrameReader, UnmasksInPlace) {
  auto bytes = text("hello");
  const auto* begin = bytes.data();
  struct Handler final : FrameHandler {
    const char* at = nullptr;
    bool on_message(Opcode, std::string_view payload) override {
      at = payload.data();
      return true;
    }
    bool on_ping(std::string_view) override { return true; }
    bool on_pong(std::string_view) override { return true; }
    void on_close(CloseCode, std::string_view) override {}
  } handler;
  FrameReader reader(kTextOnly);
  std::span<char> unread = bytes;
  EXPECT_FALSE(reader.feed(unread, handler, kAllFrames));
  EXPECT_EQ(handler.at, begin + 6);
}

// ---- size ------------------------------------------------------------------------------------

TEST(FrameReader, AcceptsAMessageOfTheLimitAndNotAByteMore) {
  constexpr FrameLimits limits{200, false};
  const std::string most(200, 'm');
  EXPECT_THAT(read(text(most), limits).seen, ElementsAre("text " + most));
  EXPECT_EQ(read(text(most + "m"), limits), (Outcome{{}, 1009, false}));
}

TEST(FrameReader, CountsAllFragmentsOfAMessage) {
  constexpr FrameLimits limits{10, false};
  EXPECT_THAT(read(part(kText, "12345", false) + part(kContinuation, "67890", true), limits).seen,
              ElementsAre("text 1234567890"));
  EXPECT_EQ(read(part(kText, "12345", false) + part(kContinuation, "678901", true), limits),
            (Outcome{{}, 1009, false}));
  EXPECT_EQ(read(part(kText, "1234567890", false) + part(kContinuation, "", false) +
                     part(kContinuation, "1", false),
                 limits),
            (Outcome{{}, 1009, false}));
}

TEST(FrameReader, CountsEachMessageSeparately) {
  constexpr FrameLimits limits{3, false};
  EXPECT_EQ(read(text("123") + ping(std::string(100, 'p')) + text("456"), limits).refused, 0);
}

TEST(FrameReader, RefusesATooLargeLengthAtOnce) {
  // Refused at the last byte of the header, before any payload.
  for (const std::uint64_t claimed :
       {std::uint64_t{65537}, std::uint64_t{1} << 31, (std::uint64_t{1} << 63) - 1}) {
    const auto bytes = Frame{.claimed = claimed}.bytes();
    EXPECT_EQ(read(bytes), (Outcome{{}, 1009, false})) << claimed;
    EXPECT_EQ(feed({bytes.substr(0, bytes.size() - 1)}).refused, 0) << claimed;
  }
}

TEST(FrameReader, WaitsForNoPayloadOfARefusedFrame) {
  for (const std::uint64_t claimed : {std::uint64_t{65537}, ~std::uint64_t{0}}) {
    FrameReader reader(kTextOnly);
    auto bytes = Frame{.claimed = claimed}.bytes();
    std::span<char> unread(bytes);
    Recorder recorder;
    EXPECT_TRUE(reader.feed(unread, recorder, kAllFrames));
    EXPECT_EQ(reader.frame_rest(), 0U) << claimed;
  }
}

TEST(FrameReader, RefusesInvalidFramesAtTheFirstTwoBytes) {
  EXPECT_EQ(feed({"\xff"}).refused, 0);
  EXPECT_EQ(feed({"\x81\x05"s}).refused, 1002) << "not masked";
  EXPECT_EQ(feed({"\x89\xfe"s}).refused, 1002) << "a long Ping";
  EXPECT_EQ(feed({"\x80\x80"s}).refused, 1002) << "a continuation of nothing";
  EXPECT_EQ(feed({"\x82\x81"s}).refused, 1003) << "binary";
}

// ---- incomplete input ------------------------------------------------------------------------

TEST(FrameReader, IsUnfinishedWithinAFrame) {
  const auto bytes = text("hello");
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(feed({bytes.substr(0, cut)}).unfinished, cut != 0 && cut != bytes.size()) << cut;
  }
}

TEST(FrameReader, IsUnfinishedBetweenFragments) {
  const auto begun = part(kText, "a", false);
  EXPECT_TRUE(feed({begun}).unfinished);
  EXPECT_TRUE(feed({begun + ping("x")}).unfinished);
  EXPECT_TRUE(feed({begun + part(kContinuation, "", false)}).unfinished);
  EXPECT_FALSE(feed({begun + part(kContinuation, "", true)}).unfinished);
}

TEST(FrameReader, IsUnfinishedWithinAControlFrame) {
  const auto bytes = ping("hello");
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(feed({bytes.substr(0, cut)}).unfinished, cut != 0 && cut != bytes.size()) << cut;
  }
}

TEST(FrameReader, IsNotUnfinishedWithoutInput) {
  EXPECT_EQ(feed({""}), Outcome{});
  EXPECT_EQ(feed({"", "", text("a").substr(0, 6), "", ""}).unfinished, true);
}

// ---- stops before the end --------------------------------------------------------------------

TEST(FrameReader, LeavesTheBytesAfterTheFrameAtWhichTheHandlerStops) {
  const auto pong = Frame{.opcode = kPong, .payload = "a"}.bytes();
  const auto rest = text("b") + text("c").substr(0, 3);
  for (const auto& first : {text("a"), ping("a"), pong, part(kText, "", true)}) {
    FrameReader reader(kTextOnly);
    Recorder recorder;
    recorder.go_on = false;
    auto bytes = first + rest;
    std::span<char> unread = bytes;
    EXPECT_FALSE(reader.feed(unread, recorder, kAllFrames));
    EXPECT_EQ(recorder.seen.size(), 1U);
    EXPECT_EQ(std::string_view(unread.data(), unread.size()), rest);
    EXPECT_FALSE(reader.is_unfinished());
    recorder.go_on = true;
    EXPECT_FALSE(reader.feed(unread, recorder, kAllFrames));
    EXPECT_TRUE(unread.empty());
    EXPECT_EQ(recorder.seen.back(), "text b");
    EXPECT_TRUE(reader.is_unfinished());
  }
}

TEST(FrameReader, ReadsAtMostMaxFramesOfAnyKind) {
  auto bytes = ping("1") + part(kText, "2", false) + part(kContinuation, "", false) +
               Frame{.opcode = kPong}.bytes() + part(kContinuation, "5", true) + text("6");
  const std::size_t sizes[] = {7, 7, 6, 6, 7, 7};
  FrameReader reader(kTextOnly);
  Recorder recorder;
  std::span<char> unread = bytes;
  for (const auto size : sizes) {
    const auto before = unread.size();
    EXPECT_FALSE(reader.feed(unread, recorder, 1));
    EXPECT_EQ(before - unread.size(), size);
  }
  EXPECT_THAT(recorder.seen, ElementsAre("ping 1", "pong ", "text 25", "text 6"));
}

// ---- memory ----------------------------------------------------------------------------------

/// Accepts and discards everything.
struct Sink final : FrameHandler {
  bool on_message(Opcode, std::string_view) override { return true; }
  bool on_ping(std::string_view) override { return true; }
  bool on_pong(std::string_view) override { return true; }
  void on_close(CloseCode, std::string_view) override {}
};

/// The largest allocation while `bytes` are read.
std::size_t largest_allocation(std::string bytes, const FrameLimits& limits) {
  FrameReader reader(limits);
  Sink sink;
  std::span<char> unread = bytes;
  test::forget_allocations();
  reader.feed(unread, sink, kAllFrames);
  return test::largest_allocation();
}

TEST(FrameReader, AllocatesNothingForALengthInAHeader) {
  constexpr FrameLimits generous{std::size_t{1} << 40, true};
  EXPECT_LT(largest_allocation(Frame{.claimed = 1ULL << 31}.bytes(), generous), 64U);
  EXPECT_LT(largest_allocation(Frame{.payload = "abc", .claimed = 1ULL << 31}.bytes(), generous),
            128U);
  EXPECT_EQ(largest_allocation(Frame{.claimed = 1ULL << 31}.bytes(), kTextOnly), 0U);
}

TEST(FrameReader, AllocatesNothingForCompleteFrames) {
  EXPECT_EQ(
      largest_allocation(text(std::string(60'000, 'a')) + ping(std::string(125, 'p')), kTextOnly),
      0U);
}

TEST(FrameReader, AMillionEmptyFragmentsTakeNoMemory) {
  std::string bytes = part(kText, "", false);
  for (int i = 0; i < 1'000'000; ++i) bytes += part(kContinuation, "", false);
  EXPECT_EQ(largest_allocation(std::move(bytes), kTextOnly), 0U);
}

}  // namespace
}  // namespace waystation::test
