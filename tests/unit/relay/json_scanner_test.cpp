#include "relay/json_scanner.hpp"

#include <cjson/cJSON.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "unit/relay/json_texts.hpp"

namespace waystation::test {
namespace {

using namespace std::string_literals;

/// A copy in a block of exactly its size, so that AddressSanitizer detects a read beyond it.
class Exact {
 public:
  explicit Exact(std::string_view text) : bytes_(text.begin(), text.end()) {
    bytes_.shrink_to_fit();
  }
  operator std::string_view() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::vector<char> bytes_;
};

bool accepts(std::string_view text) {
  return is_json(Exact(text));
}

std::string shown(std::string_view text) {
  return testing::PrintToString(std::string(text));
}

std::string nested(std::size_t levels, char open, std::string_view inside, char close) {
  return std::string(levels, open) + std::string(inside) + std::string(levels, close);
}

std::string nested_objects(std::size_t levels, std::string_view inside) {
  std::string text;
  for (std::size_t i = 0; i < levels; ++i) text += "{\"a\":";
  return text + std::string(inside) + std::string(levels, '}');
}

TEST(JsonScanner, AcceptsJson) {
  for (const auto& text : json_texts()) EXPECT_TRUE(accepts(text)) << shown(text);
}

TEST(JsonScanner, RefusesInvalidJson) {
  for (const auto& text : no_json_texts()) EXPECT_FALSE(accepts(text)) << shown(text);
}

TEST(JsonScanner, GivesTheSameResultForNestedTexts) {
  for (const auto& text : json_texts()) {
    EXPECT_TRUE(accepts("[" + text + "]")) << shown(text);
    EXPECT_TRUE(accepts("{\"a\":" + text + ",\"b\":" + text + "}")) << shown(text);
  }
  for (const auto& text : no_json_texts()) {
    // Several values, or none, can be valid inside an array or an object.
    if (text.find(',') != std::string::npos || text.find(']') != std::string::npos ||
        text.find('}') != std::string::npos || text.find_first_not_of(" \n") == std::string::npos) {
      continue;
    }
    EXPECT_FALSE(accepts("[" + text + "]")) << shown(text);
    EXPECT_FALSE(accepts("{\"a\":" + text + "}")) << shown(text);
  }
}

TEST(JsonScanner, RefusesEveryPrefixOfAnObjectArrayOrString) {
  const std::string text =
      R"({"message" : [ -1.5e+10 , "a\u00e9\n" , {"b":null,"c":[true,false]} ] , "to":"bob" })";
  ASSERT_TRUE(accepts(text));
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(accepts(text.substr(0, size))) << shown(text.substr(0, size));
  }
  for (const auto& whole : json_texts()) {
    const auto last = whole.find_last_not_of(" \t\r\n");
    if (whole[last] != '}' && whole[last] != ']' && whole[last] != '"') continue;
    for (std::size_t size = 0; size <= last; ++size) {
      EXPECT_FALSE(accepts(whole.substr(0, size))) << shown(whole.substr(0, size));
    }
  }
}

TEST(JsonScanner, FindsSpecialBytesAtEveryOffsetOfAString) {
  // Strings are scanned in blocks. The special byte takes every place in the first four blocks, and
  // the string every alignment.
  for (std::size_t before = 0; before < 70; ++before) {
    for (std::size_t after = 0; after < 40; ++after) {
      const std::string a(before, 'a');
      const std::string b(after, 'b');
      EXPECT_TRUE(accepts("\"" + a + b + "\""));
      EXPECT_TRUE(accepts("\"" + a + "\\n" + b + "\""));
      EXPECT_TRUE(accepts("\"" + a + "\\\"" + b + "\""));
      EXPECT_TRUE(accepts("\"" + a + "\\u00e9" + b + "\""));
      EXPECT_FALSE(accepts("\"" + a + "\n" + b + "\"")) << before << ' ' << after;
      EXPECT_FALSE(accepts("\"" + a + "\x1f" + b + "\"")) << before << ' ' << after;
      EXPECT_FALSE(accepts("\"" + a + "\0"s + b + "\"")) << before << ' ' << after;
      EXPECT_FALSE(accepts("\"" + a + "\\q" + b + "\"")) << before << ' ' << after;
      EXPECT_FALSE(accepts("\"" + a + "\"" + b + "\"")) << before << ' ' << after;
      EXPECT_FALSE(accepts("\"" + a + b)) << before << ' ' << after;
    }
  }
}

TEST(JsonScanner, InAStringOnlyQuotesBackslashesAndControlCharactersAreSpecial) {
  for (std::size_t before : {0U, 3U, 15U, 16U, 17U, 31U}) {
    for (int byte = 0; byte < 256; ++byte) {
      const auto text =
          "\"" + std::string(before, 'a') + static_cast<char>(byte) + std::string(20, 'x') + "\"";
      EXPECT_EQ(accepts(text), byte >= 0x20 && byte != '"' && byte != '\\')
          << "byte " << byte << " behind " << before;
    }
  }
}

TEST(JsonScanner, AcceptsOnlyTheEscapesOfTheRfc) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool good = c != 0 && std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
    EXPECT_EQ(accepts("\"\\"s + c + "\""), good) << byte;
    EXPECT_EQ(accepts("\"\\u00"s + c + "0\""), std::isxdigit(byte) != 0) << byte;
    EXPECT_EQ(accepts("\"\\u"s + c + "000\""), std::isxdigit(byte) != 0) << byte;
    EXPECT_EQ(accepts("\"\\u000"s + c + "\""), std::isxdigit(byte) != 0) << byte;
  }
}

TEST(JsonScanner, Accepts512LevelsAndRefuses513) {
  EXPECT_TRUE(accepts(nested(512, '[', "", ']')));
  EXPECT_TRUE(accepts(nested(512, '[', "1", ']')));
  EXPECT_FALSE(accepts(nested(513, '[', "", ']')));
  EXPECT_TRUE(accepts(nested_objects(512, "1")));
  EXPECT_FALSE(accepts(nested_objects(513, "1")));
  EXPECT_TRUE(accepts(nested_objects(256, nested(256, '[', "", ']'))));
  EXPECT_FALSE(accepts(nested_objects(256, nested(257, '[', "", ']'))));
}

TEST(JsonScanner, ClosedContainersDoNotCountAsLevels) {
  std::string text = "[";
  for (int i = 0; i < 1000; ++i) text += (i == 0 ? "" : ",") + nested(511, '[', "", ']');
  EXPECT_TRUE(accepts(text + "]"));
  EXPECT_FALSE(accepts(text + "," + nested(512, '[', "", ']') + "]"));
}

TEST(JsonScanner, NamesExcessiveDepthAsTheProblem) {
  const auto text = nested(513, '[', "", ']');
  JsonScanner scanner(text);
  std::string_view value;
  EXPECT_FALSE(scanner.value(&value));
  EXPECT_THAT(scanner.problem(), testing::HasSubstr("512"));
  EXPECT_EQ(scanner.position(), 512U);
}

TEST(JsonScanner, CountsTheLevelsAroundAValue) {
  const auto deep = nested(512, '[', "", ']');
  std::string_view value;
  EXPECT_TRUE(JsonScanner(deep).value(&value, 0));
  EXPECT_FALSE(JsonScanner(deep).value(&value, 1));
  const auto less_deep = nested(511, '[', "", ']');
  EXPECT_TRUE(JsonScanner(less_deep).value(&value, 1));
  EXPECT_TRUE(JsonScanner("7").value(&value, 512));
  EXPECT_FALSE(JsonScanner("[]").value(&value, 512));
}

TEST(JsonScanner, AppliesALowerLimitOfLevels) {
  EXPECT_TRUE(is_json("7", 0));
  EXPECT_FALSE(is_json("[]", 0));
  EXPECT_TRUE(is_json(nested(16, '[', "1", ']'), 16));
  EXPECT_FALSE(is_json(nested(17, '[', "", ']'), 16));
  EXPECT_FALSE(is_json(nested_objects(8, nested(9, '[', "", ']')), 16));
  // Brackets in strings are no levels, and an escaped quote does not end a string.
  EXPECT_TRUE(is_json(R"(["[[[[","\"[[[[","\\"])", 1));
  EXPECT_FALSE(is_json(R"(["\\",[]])", 1));
}

TEST(JsonScanner, RefusesOneHundredThousandBrackets) {
  EXPECT_FALSE(accepts(std::string(100'000, '[')));
  EXPECT_FALSE(accepts(std::string(100'000, '{')));
  EXPECT_FALSE(accepts(nested(100'000, '[', "", ']')));
  EXPECT_FALSE(accepts(nested_objects(20'000, "1")));
  EXPECT_FALSE(accepts(std::string(100'000, ']')));
}

TEST(JsonScanner, EachContainerIsClosedByItsOwnBracket) {
  // All combinations of six open containers, closed correctly, and with one wrong bracket.
  for (unsigned kinds = 0; kinds < 64; ++kinds) {
    std::string open;
    std::string close;
    for (unsigned level = 0; level < 6; ++level) {
      const bool object = (kinds >> level & 1U) != 0;
      open += object ? "{\"a\":" : "[";
      close.insert(close.begin(), object ? '}' : ']');
    }
    EXPECT_TRUE(accepts(open + "1" + close));
    for (auto& bracket : close) {
      const char right = bracket;
      bracket = right == '}' ? ']' : '}';
      EXPECT_FALSE(accepts(open + "1" + close)) << open << "1" << close;
      bracket = right;
    }
  }
}

TEST(JsonScanner, AValueIsItsTextWithoutTheSpaceAround) {
  for (const auto& text : json_texts()) {
    const auto first = text.find_first_not_of(" \t\r\n");
    const auto last = text.find_last_not_of(" \t\r\n");
    const auto bare = text.substr(first, last - first + 1);
    const auto padded = " \n\t\r" + text + " \r\n ";
    JsonScanner scanner(padded);
    std::string_view value;
    ASSERT_TRUE(scanner.value(&value)) << shown(text);
    EXPECT_EQ(value, bare);
    EXPECT_TRUE(scanner.end());
    EXPECT_TRUE(scanner.at_end());
  }
}

TEST(JsonScanner, StopsAfterTheValue) {
  const std::string text = R"({"a":[1,2]} , 3)";
  JsonScanner scanner(text);
  std::string_view value;
  ASSERT_TRUE(scanner.value(&value));
  EXPECT_EQ(value, R"({"a":[1,2]})");
  EXPECT_EQ(scanner.position(), 11U);
  EXPECT_FALSE(scanner.accept(','));
  scanner.skip_space();
  EXPECT_EQ(scanner.peek(), ',');
  EXPECT_TRUE(scanner.accept(','));
  ASSERT_TRUE(scanner.value(&value));
  EXPECT_EQ(value, "3");
}

TEST(JsonScanner, AStringIsReturnedEscaped) {
  const std::string text = R"("a\"\u00e9" rest)";
  JsonScanner scanner(text);
  std::string_view contents;
  ASSERT_TRUE(scanner.string(&contents));
  EXPECT_EQ(contents, R"(a\"\u00e9)");
  EXPECT_EQ(scanner.position(), 11U);
}

TEST(JsonScanner, RefusesOtherValuesWhereAStringIsExpected) {
  std::string_view contents;
  EXPECT_FALSE(JsonScanner("").string(&contents));
  EXPECT_FALSE(JsonScanner("a").string(&contents));
  EXPECT_FALSE(JsonScanner(" \"a\"").string(&contents));
  EXPECT_FALSE(JsonScanner("\"a").string(&contents));
}

TEST(JsonScanner, ReportsThePositionOfTheProblem) {
  const auto position = [](std::string_view text) {
    JsonScanner scanner(text);
    std::string_view value;
    EXPECT_FALSE(scanner.value(&value) && scanner.end()) << text;
    EXPECT_STRNE(scanner.problem(), "") << text;
    return scanner.position();
  };
  EXPECT_EQ(position(""), 0U);
  EXPECT_EQ(position("[1,]"), 3U);
  EXPECT_EQ(position("[1 2]"), 3U);
  EXPECT_EQ(position("01"), 1U);
  EXPECT_EQ(position("1."), 2U);
  EXPECT_EQ(position("null x"), 5U);
  EXPECT_EQ(position("{\"a\" 1}"), 5U);
  EXPECT_EQ(position("{\"a\":1,}"), 7U);
  EXPECT_EQ(position("\"ab\ncd\""), 3U);
  EXPECT_EQ(position("\"ab\\qcd\""), 4U);
  EXPECT_EQ(position("\"ab\\u00gg\""), 7U);
  EXPECT_EQ(position("\"abc"), 4U);
}

TEST(JsonScanner, NamesWhatWasExpected) {
  JsonScanner scanner("ab");
  EXPECT_TRUE(scanner.expect('a', "an a"));
  EXPECT_FALSE(scanner.expect('a', "an a"));
  EXPECT_STREQ(scanner.problem(), "an a");
  EXPECT_EQ(scanner.position(), 1U);
}

// ---- against another parser ------------------------------------------------------------------

/// The text as parsed by cJSON; null if cJSON refuses it.
std::unique_ptr<cJSON, decltype(&cJSON_Delete)> parse_with_cjson(const std::string& text) {
  const char* end = nullptr;
  std::unique_ptr<cJSON, decltype(&cJSON_Delete)> parsed(
      cJSON_ParseWithLengthOpts(text.c_str(), text.size(), &end, 0), cJSON_Delete);
  if (parsed && std::string_view(end, static_cast<std::size_t>(text.data() + text.size() - end))
                        .find_first_not_of(" \t\r\n") != std::string_view::npos) {
    parsed.reset();
  }
  return parsed;
}

/// Writes random texts by the grammar of RFC 8259.
class RandomJson {
 public:
  explicit RandomJson(unsigned seed) : random_(seed) {}

  std::string value(unsigned levels) {
    std::string text = space();
    switch (below(levels == 0 ? 5 : 8)) {
      case 0:
        text += "null";
        break;
      case 1:
        text += below(2) == 0 ? "true" : "false";
        break;
      case 2:
        text += number();
        break;
      case 3:
      case 4:
        text += string();
        break;
      case 5:
      case 6:
        text += container('[', ']', levels, false);
        break;
      default:
        text += container('{', '}', levels, true);
        break;
    }
    return text + space();
  }

  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }

 private:
  std::string container(char open, char close, unsigned levels, bool named) {
    std::string text{open};
    const auto count = below(4);
    if (count == 0) text += space();
    for (unsigned i = 0; i < count; ++i) {
      if (i != 0) text += ',';
      if (named) text += space() + string() + space() + ':';
      text += value(levels - 1);
    }
    return text + close;
  }

  std::string space() {
    std::string text;
    while (below(4) == 0) text += " \t\r\n"[below(4)];
    return text;
  }

  std::string digits() {
    std::string text;
    do text += static_cast<char>('0' + below(10));
    while (below(2) == 0 && text.size() < 9);
    return text;
  }

  std::string number() {
    std::string text = below(2) == 0 ? "-" : "";
    if (below(3) == 0) {
      text += '0';
    } else {
      text += static_cast<char>('1' + below(9));
      if (below(2) == 0) text += digits();
    }
    if (below(2) == 0) text += '.' + digits();
    if (below(3) == 0) {
      text += "eE"[below(2)];
      if (below(2) == 0) text += "+-"[below(2)];
      text += digits().substr(0, 2);
    }
    return text;
  }

  std::string string() {
    static const std::vector<std::string> pieces = {"a",
                                                    "0",
                                                    "{",
                                                    "]",
                                                    ":",
                                                    ",",
                                                    "/",
                                                    "\\\"",
                                                    "\\\\",
                                                    "\\/",
                                                    "\\b",
                                                    "\\n",
                                                    "\\t",
                                                    "\\u0041",
                                                    "\\u00e9",
                                                    "\\uFFFD",
                                                    "\\ud834\\udd1e",
                                                    "\xc3\xa9",
                                                    "\xf0\x9f\x9a\x89",
                                                    "\x7f",
                                                    "a longer piece of plain text"};
    std::string text = "\"";
    for (auto count = below(6); count != 0; --count) text += pieces[below(21)];
    return text + '"';
  }

  std::mt19937 random_;
};

constexpr unsigned kSeed = 8259;

TEST(JsonScanner, AcceptsGeneratedTexts) {
  RandomJson random(kSeed);
  for (int i = 0; i < 5000; ++i) {
    const auto text = random.value(4);
    ASSERT_TRUE(accepts(text)) << shown(text) << ", seed " << kSeed;
    ASSERT_TRUE(parse_with_cjson(text)) << shown(text) << ", seed " << kSeed;
  }
}

TEST(JsonScanner, AcceptsNothingThatAnotherParserRefuses) {
  // cJSON accepts many invalid texts. It refuses two kinds of valid ones, which are not generated
  // here: numbers of more than 63 digits, and lone surrogates.
  RandomJson random(kSeed);
  int refused = 0;
  for (int i = 0; i < 50'000; ++i) {
    auto text = random.value(3);
    constexpr std::string_view replacements = "{}[]:,\"\\ntfu0123456789.eE+-/ \t\n\x01x";
    for (auto changes = 1 + random.below(2); changes != 0 && !text.empty(); --changes) {
      const auto at = random.below(static_cast<unsigned>(text.size()));
      const char c = replacements[random.below(static_cast<unsigned>(replacements.size()))];
      switch (random.below(3)) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.erase(at, 1);
          break;
        default:
          text.insert(at, 1, c);
          break;
      }
    }
    if (text.find("\\ud") != std::string::npos) continue;
    if (parse_with_cjson(text)) continue;
    ++refused;
    ASSERT_FALSE(accepts(text)) << shown(text) << ", seed " << kSeed;
  }
  EXPECT_GT(refused, 10'000);
}

TEST(JsonScanner, FindsTheSameValueAsAnotherParser) {
  RandomJson random(kSeed + 1);
  for (int i = 0; i < 2000; ++i) {
    const auto inner = random.value(3);
    const auto text = "{ \"before\":" + random.value(2) + ",\"it\":" + inner + "}";
    JsonScanner scanner(text);
    std::string_view name;
    std::string_view value;
    scanner.skip_space();
    ASSERT_TRUE(scanner.accept('{'));
    scanner.skip_space();
    ASSERT_TRUE(scanner.string(&name) && scanner.accept(':') && scanner.value(&value, 1));
    scanner.skip_space();
    ASSERT_TRUE(scanner.accept(',') && scanner.string(&name) && scanner.accept(':'));
    ASSERT_EQ(name, "it");
    ASSERT_TRUE(scanner.value(&value, 1));
    const auto whole = parse_with_cjson(text);
    const auto cut = parse_with_cjson(std::string(value));
    ASSERT_TRUE(whole && cut) << shown(text);
    ASSERT_TRUE(cJSON_Compare(cJSON_GetObjectItemCaseSensitive(whole.get(), "it"), cut.get(), 1) ||
                inner.find("e") != std::string::npos || inner.find("E") != std::string::npos)
        << shown(text) << " gave " << shown(value);
    ASSERT_EQ(std::string(value), inner.substr(inner.find_first_not_of(" \t\r\n"),
                                               inner.find_last_not_of(" \t\r\n") -
                                                   inner.find_first_not_of(" \t\r\n") + 1));
  }
}

// ---- unescape_ascii --------------------------------------------------------------------------

std::optional<std::string> unescaped(std::string_view contents, std::size_t room = 64) {
  std::vector<char> buffer(room);
  const auto text = unescape_ascii(contents, buffer.data(), buffer.size());
  if (!text) return std::nullopt;
  return std::string(*text);
}

TEST(UnescapeAscii, DecodesEveryEscape) {
  EXPECT_EQ(unescaped(""), "");
  EXPECT_EQ(unescaped("plain"), "plain");
  EXPECT_EQ(unescaped(R"(\"\\\/\b\f\n\r\t)"), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(unescaped(R"(\u0041\u007a\u007A\u0000)"), "Azz\0"s);
  EXPECT_EQ(unescaped(R"(mess\u0061ge)"), "message");
  EXPECT_EQ(unescaped(R"(\u006D\u0065\u0073\u0073\u0061\u0067\u0065)"), "message");
}

TEST(UnescapeAscii, ReturnsNothingForOtherCharacters) {
  EXPECT_EQ(unescaped("\xc3\xa9"), std::nullopt);
  EXPECT_EQ(unescaped(R"(\u0080)"), std::nullopt);
  EXPECT_EQ(unescaped(R"(\u00e9)"), std::nullopt);
  EXPECT_EQ(unescaped(R"(\u0141)"), std::nullopt);
  EXPECT_EQ(unescaped(R"(a\ud800)"), std::nullopt);
  EXPECT_EQ(unescaped(R"(\u007f)"), "\x7f");
}

TEST(UnescapeAscii, ReturnsNothingIfTheBufferIsTooSmall) {
  EXPECT_EQ(unescaped("1234567", 7), "1234567");
  EXPECT_EQ(unescaped("12345678", 7), std::nullopt);
  EXPECT_EQ(unescaped(R"(\u0031\u0032)", 2), "12");
  EXPECT_EQ(unescaped(R"(\u0031\u0032)", 1), std::nullopt);
  EXPECT_EQ(unescaped("", 0), "");
}

}  // namespace
}  // namespace waystation::test
