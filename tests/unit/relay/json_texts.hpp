// Texts that are JSON and texts that are not (RFC 8259), for whoever has to tell them apart.
#pragma once

#include <string>
#include <vector>

namespace waystation::test {

using namespace std::string_literals;

inline const std::vector<std::string>& json_texts() {
  static const std::vector<std::string> texts = {
      // Section 3: values.
      "null", "true", "false", "0", "\"\"", "{}", "[]",
      // Section 2: white space.
      " null", "null ", "\t\n\r null \t\n\r", "[ ]", "{ }", "[ 1 , 2 ]", "{ \"a\" : 1 , \"b\" : 2 }",
      "{\r\n\t\"a\"\r\n\t:\r\n\t1\r\n}",
      // Section 4: objects. Names may repeat.
      R"({"a":1})", R"({"a":1,"a":2})", R"({"":0})", R"({"\u0000":0})", R"({"a":{"a":{"a":{}}}})",
      R"({"a":[],"b":{},"c":"","d":null})",
      // Section 5: arrays. Values may differ in kind.
      "[1]", "[[]]", "[[],[]]", R"([null,true,false,0,"",{},[]])", "[[[[[[[[[[1]]]]]]]]]]",
      R"([{"a":[{"b":[]}]}])",
      // Section 6: numbers, of any size and exactness.
      "-0", "-1", "1", "10", "1234567890", "12345678901234567890", "-12345678901234567890", "0.0",
      "-0.0", "0.5", "1.0000000000000000000000000000000001", "1e1", "1E1", "1e+1", "1e-1", "1E+01",
      "1e00", "0e0", "0E-0", "1e400", "-1e-400", "1.5e300", "123.456e-78",
      // Section 7: strings.
      R"("a")", R"("\"")", R"("\\")", R"("\/")", R"("\b\f\n\r\t")", R"("/")", R"("\u0041")",
      R"("\u00e9")", R"("\u00E9")", R"("\u0000")", R"("\ud834\udd1e")", R"("\uFFFF")",
      // Lone surrogates are grammatical; what they mean is the receiver's affair (section 8.2).
      R"("\ud800")", R"("\udfff")", R"("\udfff\ud800")", R"("\ud800x")",
      "\"\x7f\"", "\"\xc3\xa9\"", "\"\xe2\x80\xa8\xe2\x80\xa9\"", "\"\xf0\x9f\x9a\x89\"",
      "\"\xef\xbb\xbf\"", R"("{[,:]}")", R"("\\\"\\")", R"("\\\\")",
      R"("sixteen bytes are looked at in one step \" and then the next ones")",
  };
  return texts;
}

inline const std::vector<std::string>& no_json_texts() {
  static const std::vector<std::string> texts = {
      "", " ", "\n",
      // Literals.
      "nul", "nulll", "Null", "NULL", "tru", "truE", "True", "fals", "falsey", "nil", "undefined",
      "NaN", "Infinity", "-Infinity", "nan", "n", "t", "f", "none",
      // More than one value, or something behind it.
      "null null", "1 2", "{}{}", "[][]", "null,", "1,2", "null\0"s, "\0null"s, "1 //", "1 /* */",
      "/**/1", "#1\n1", "null;", "\"\"\"", "{}x",
      // What looks like white space and is none.
      "\vnull", "\fnull", "null\v", "\xc2\xa0null", "\xe3\x80\x80null", "[\v1]", "[1\f]",
      "\xef\xbb\xbfnull", "\xe2\x80\xa8null", "\x1f" "1",
      // Objects.
      "{", "}", "{a:1}", "{'a':1}", "{1:1}", "{null:1}", R"({"a")", R"({"a":)", R"({"a":1)",
      R"({"a":1,)", R"({"a":1,})", R"({,"a":1})", R"({"a":1,,"b":2})", R"({"a" 1})", R"({"a"::1})",
      R"({"a":1 "b":2})", R"({"a","b"})", R"({"a":})", R"({:1})", R"({"a":1]})", R"({"a":1])",
      R"({"a"})", R"({"a":1;"b":2})", "{,}", R"({{}:1})", R"({[]:1})", R"({"a":b})",
      // Arrays.
      "[", "]", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1,,2]", "[1 2]", "[1}", "[1:2]", "[\"a\":1]",
      "[]]", "[[]", "[1;2]", "(1)", "[1", "[a]",
      // Numbers.
      "01", "-01", "00", "-", "+1", "+0", "--1", "-+1", "1.", ".1", "-.1", "1.e1", "1e", "1e+",
      "1e-", "1E", "1.0e", "0x10", "1_000", "1,000", "1e1.5", "1.2.3", "1f", "0b1", "0o7", "1e++1",
      "1ee1", "- 1", "1 .5", "1. 5", "1e 5", "-a", "0e", "-0e", "2.", "-Inf", "\xef\xbc\x91", "[01]",
      "[1.]", "[-]", "[.5]",
      // Strings.
      "\"", "\"a", "a\"", "'a'", "`a`", "\"\\\"", R"("\x41")", R"("\a")", R"("\v")", R"("\0")",
      R"("\e")", R"("\'")", R"("\U0041")", R"("\u")", R"("\u0")", R"("\u00")", R"("\u004")",
      R"("\u004g")", R"("\u 041")", R"("\u+041")", R"("\u00)", "\"\\", "\"\\u", "\"\\ \"", "\"\n\"",
      "\"\t\"", "\"\r\"", "\"\x01\"", "\"\x1f\"", "\"\0\""s, "\"a\nb\"", "\"\\\n\"", R"("a" "b")",
      R"("a"b)", R"(\"a\")", R"(["a\])", "\"\\u00\xc3\xa9\"", R"("\N")", R"("\T")",
  };
  return texts;
}

}  // namespace waystation::test
