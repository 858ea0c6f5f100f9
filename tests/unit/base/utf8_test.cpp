#include "base/utf8.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8_vector.hpp"

namespace waystation::test {
namespace {

std::string shown(const std::string& text) {
  return testing::PrintToString(text);
}

const std::vector<std::string>& good_texts() {
  static const std::vector<std::string> texts = {
      "",
      "a",
      std::string(1, '\0'),
      "\x7f",
      "\xc2\x80",
      "\xdf\xbf",
      "\xe0\xa0\x80",
      "\xe0\xbf\xbf",
      "\xe1\x80\x80",
      "\xec\xbf\xbf",
      "\xed\x80\x80",
      "\xed\x9f\xbf",
      "\xee\x80\x80",
      "\xef\xbf\xbf",
      "\xef\xbb\xbf",
      "\xf0\x90\x80\x80",
      "\xf0\xbf\xbf\xbf",
      "\xf1\x80\x80\x80",
      "\xf3\xbf\xbf\xbf",
      "\xf4\x80\x80\x80",
      "\xf4\x8f\xbf\xbf",
      "\xe9\xa9\xbf\xe7\xab\x99 relay post \xf0\x9f\x90\x8e",
      "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"};
  return texts;
}

/// Texts that end inside a character, or whose last byte is invalid.
const std::vector<std::string>& cut_texts() {
  static const std::vector<std::string> texts = {
      "\xc2", "\xdf",     "\xe0",         "\xe0\xa0",     "\xed\x9f", "\xef\xbb",
      "\xf0", "\xf0\x90", "\xf0\x90\x80", "\xf4\x8f\xbf", "ab\xc3"};
  return texts;
}

const std::vector<std::string>& wrong_texts() {
  static const std::vector<std::string> texts = {"\x80",
                                                 "\xbf",
                                                 "\xc0",
                                                 "\xc1",
                                                 "\xf5",
                                                 "\xf8",
                                                 "\xfc",
                                                 "\xfe",
                                                 "\xff",  // no first bytes
                                                 "\xc0\x80",
                                                 "\xc1\xbf",
                                                 "\xe0\x80",
                                                 "\xe0\x9f",
                                                 "\xf0\x80",
                                                 "\xf0\x8f",  // overlong
                                                 "\xed\xa0",
                                                 "\xed\xbf",
                                                 "\xed\xa0\x80",
                                                 "\xed\xbf\xbf",  // surrogates
                                                 "\xf4\x90",
                                                 "\xf5\x80",
                                                 "\xf7\xbf",  // beyond U+10FFFF
                                                 "\xc2\x7f",
                                                 "\xc2\xc0",
                                                 "\xc2"
                                                 "a",
                                                 "\xe1\x80"
                                                 "a",
                                                 "\xe1\xc0",
                                                 "\xf1\x80\x80"
                                                 "a",
                                                 "\xf1\x80\xc0",
                                                 "\xe1\x80\xff",
                                                 "a\x80",
                                                 "\xc2\x80\x80",
                                                 "\xe0\xa0\x80\x80"};
  return texts;
}

TEST(Utf8, AcceptsEveryFormOfACharacter) {
  for (const auto& text : good_texts()) EXPECT_TRUE(is_utf8(text)) << shown(text);
}

TEST(Utf8, RefusesOverlongFormsSurrogatesAndCodePointsAboveUnicode) {
  for (const auto& text : wrong_texts()) EXPECT_FALSE(is_utf8(text)) << shown(text);
}

TEST(Utf8, RefusesAnIncompleteCharacter) {
  for (const auto& text : cut_texts()) {
    EXPECT_FALSE(is_utf8(text)) << shown(text);
    Utf8Checker checker;
    EXPECT_TRUE(checker.feed(text)) << shown(text) << " may still go on";
    EXPECT_FALSE(checker.at_boundary()) << shown(text);
  }
}

TEST(Utf8, FailsAtTheFirstInvalidByte) {
  for (const auto& text : wrong_texts()) {
    Utf8Checker checker;
    std::size_t taken = 0;
    while (taken < text.size() && checker.feed(text.substr(taken, 1))) ++taken;
    EXPECT_LT(taken, text.size()) << shown(text);
    // The bytes before it were a valid beginning.
    Utf8Checker again;
    EXPECT_TRUE(again.feed(text.substr(0, taken))) << shown(text);
    EXPECT_FALSE(again.feed(text.substr(taken))) << shown(text);
  }
}

TEST(Utf8, AcceptsATextSplitAnywhere) {
  std::vector<std::string> all = good_texts();
  all.insert(all.end(), wrong_texts().begin(), wrong_texts().end());
  all.insert(all.end(), cut_texts().begin(), cut_texts().end());
  for (const auto& core : all) {
    for (const auto& text :
         {core, "some words before " + core, core + " and some behind it, longer",
          std::string(33, 'x') + core + std::string(33, 'y')}) {
      const bool whole = is_utf8(text);
      for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        for (std::size_t second = cut; second <= text.size(); ++second) {
          Utf8Checker checker;
          const bool fed = checker.feed(std::string_view(text).substr(0, cut)) &&
                           checker.feed(std::string_view(text).substr(cut, second - cut)) &&
                           checker.feed(std::string_view(text).substr(second));
          ASSERT_EQ(fed && checker.at_boundary(), whole)
              << shown(text) << " cut at " << cut << " and " << second;
        }
      }
    }
  }
}

TEST(Utf8, StaysInvalidUntilReset) {
  Utf8Checker checker;
  EXPECT_FALSE(checker.feed("\xff"));
  EXPECT_FALSE(checker.feed("fine"));
  EXPECT_FALSE(checker.at_boundary());
  checker.reset();
  EXPECT_TRUE(checker.at_boundary());
  EXPECT_TRUE(checker.feed("fine"));
  EXPECT_TRUE(checker.at_boundary());
}

TEST(Utf8, ResetDiscardsAnIncompleteCharacter) {
  Utf8Checker checker;
  EXPECT_TRUE(checker.feed("\xf4"));
  checker.reset();
  EXPECT_TRUE(checker.feed("a\xf1\xbf\xbf\xbf"));
  EXPECT_TRUE(checker.at_boundary());
}

TEST(Utf8, FindsABadByteAtEveryOffsetOfALongText) {
  for (std::size_t size = 1; size < 100; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      std::string text(size, 'a');
      text[at] = '\x80';
      ASSERT_FALSE(is_utf8(text)) << at << " of " << size;
    }
  }
}

TEST(Utf8, AcceptsExactlyTheCodePointsOfUnicode) {
  // Every code point in the pattern of RFC 3629, allowed or not.
  const auto encoded = [](std::uint32_t c) {
    const auto byte = [](std::uint32_t b) { return static_cast<char>(b); };
    if (c < 0x80) return std::string{byte(c)};
    if (c < 0x800) return std::string{byte(0xC0 | c >> 6), byte(0x80 | (c & 0x3F))};
    if (c < 0x10000) {
      return std::string{byte(0xE0 | c >> 12), byte(0x80 | (c >> 6 & 0x3F)),
                         byte(0x80 | (c & 0x3F))};
    }
    return std::string{byte(0xF0 | c >> 18), byte(0x80 | (c >> 12 & 0x3F)),
                       byte(0x80 | (c >> 6 & 0x3F)), byte(0x80 | (c & 0x3F))};
  };
  for (std::uint32_t c = 0; c < 0x200000; ++c) {
    const bool good = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
    ASSERT_EQ(is_utf8(encoded(c)), good) << "U+" << std::hex << c;
  }
}

/// Validates byte by byte, without the fast path.
bool in_small_steps(std::string_view text) {
  Utf8Checker checker;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!checker.feed(text.substr(i, 1))) return false;
  }
  return checker.at_boundary();
}

TEST(Utf8, FastPathAgreesWithByteByByte) {
  std::string text = "....0123....";
  for (unsigned start = 0; start <= 0xFFFF; ++start) {
    for (const unsigned third : {0x7FU, 0x80U, 0xBFU, 0xC0U}) {
      for (const unsigned fourth : {0x7FU, 0x80U, 0xBFU, 0xC0U}) {
        const unsigned bytes[] = {start >> 8, start & 0xFF, third, fourth};
        for (std::size_t i = 0; i < 4; ++i) text[4 + i] = static_cast<char>(bytes[i]);
        ASSERT_EQ(is_utf8(text), in_small_steps(text)) << start << ' ' << third << ' ' << fourth;
      }
    }
  }
}

/// What a checker says about `text` in pieces of `size` bytes: it failed, or whether it is at the
/// end of a character.
std::optional<bool> verdict(std::string_view text, std::size_t size) {
  Utf8Checker checker;
  for (std::size_t at = 0; at < text.size(); at += size) {
    if (!checker.feed(text.substr(at, size))) return std::nullopt;
  }
  return checker.at_boundary();
}

TEST(Utf8, LongTextsAreJudgedAsByteByByte) {
  std::vector<std::string> parts = good_texts();
  for (const auto* more : {&cut_texts(), &wrong_texts()}) {
    parts.insert(parts.end(), more->begin(), more->end());
  }
  // At every place of three blocks and of what follows them, after texts of every kind.
  const std::string chinese = "\xe9\xa9\xbf\xe7\xab\x99";
  for (const std::string& filler : {std::string("a"), chinese, std::string("\xf0\x9f\x90\x8e")}) {
    for (const auto& part : parts) {
      for (std::size_t before = 0; before < 200; ++before) {
        std::string text(before % filler.size(), '.');
        while (text.size() < before) text += filler;
        text += part;
        text += std::string(before % 4, '.');
        while (text.size() < 300) text += filler;
        const auto expected = verdict(text, 1);
        for (const std::size_t size : {std::size_t{63}, std::size_t{130}, text.size()}) {
          ASSERT_EQ(verdict(text, size), expected) << shown(text) << " in pieces of " << size;
        }
      }
    }
  }
}

TEST(Utf8, LongRandomTextsAreJudgedAsByteByByte) {
  std::random_device device;
  const unsigned seed = device();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  int valid = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    const auto length = 128 + random() % 300;
    while (text.size() < length) text += good_texts()[1 + random() % (good_texts().size() - 1)];
    // Most rounds change one byte, which may leave the text valid.
    if (round % 4 != 0) text[random() % text.size()] = static_cast<char>(random());
    const auto expected = verdict(text, 1);
    if (expected) ++valid;
    ASSERT_EQ(verdict(text, text.size()), expected) << shown(text);
    ASSERT_EQ(verdict(text, 128 + random() % 64), expected) << shown(text);
  }
  EXPECT_GE(valid, 20'000 / 4);
}

TEST(Utf8, MaskedBlocksAreUnmaskedAsFarAsTheyAreValid) {
  std::random_device device;
  const unsigned seed = device();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 5'000; ++round) {
    std::string text;
    const auto length = random() % 400;
    while (text.size() < length) text += good_texts()[1 + random() % (good_texts().size() - 1)];
    if (round % 2 != 0 && !text.empty()) text[random() % text.size()] = '\xff';
    const auto mask = random();
    std::string masked = text;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto byte = reinterpret_cast<const char*>(&mask)[i % sizeof mask];
      masked[i] = static_cast<char>(text[i] ^ byte);
    }
    auto piece = masked;
    const auto blocks = unmask_blocks(piece, mask);
    ASSERT_EQ(blocks.valid, valid_blocks(text)) << shown(text);
    ASSERT_EQ(blocks.unmasked % kUtf8BlockBytes, 0U);
    ASSERT_GE(blocks.unmasked, blocks.valid);
    ASSERT_EQ(piece, text.substr(0, blocks.unmasked) + masked.substr(blocks.unmasked));
  }
}

}  // namespace
}  // namespace waystation::test
