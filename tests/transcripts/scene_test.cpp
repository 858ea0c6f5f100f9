#include "transcripts/scene.hpp"

#include <gtest/gtest.h>

#include <set>

namespace waystation::test {
namespace {

TEST(Scene, FramesAreComparedAsJson) {
  EXPECT_TRUE(is_expected(R"({"a":1,"b":{"c":"x"}})", R"({"b":{"c":"x"},"a":1})"));
  EXPECT_TRUE(is_expected(R"({"a":1})", R"({"a" : 1})"));
  EXPECT_FALSE(is_expected(R"({"a":1})", R"({"a":2})"));
  EXPECT_FALSE(is_expected(R"({"a":1})", R"({"a":1,"b":2})"));
  EXPECT_FALSE(is_expected(R"({"a":1,"b":2})", R"({"a":1})"));
  EXPECT_FALSE(is_expected(R"({"a":1})", R"({"a":1.0})"));
  EXPECT_FALSE(is_expected(R"({"a":1})", R"({"a":1,"a":1})"));
  EXPECT_FALSE(is_expected(R"({"a":1})", ""));
  EXPECT_FALSE(is_expected(R"({"a":1})", R"({"a":1}})"));
}

TEST(Scene, DotsStandForAnyOneValue) {
  EXPECT_TRUE(is_expected(R"({"at":…})", R"({"at":17})"));
  EXPECT_TRUE(is_expected(R"({"at":…,"b":{"c":…}})", R"({"at":{"x":[1]},"b":{"c":null}})"));
  EXPECT_FALSE(is_expected(R"({"at":…})", R"({})"));
  EXPECT_FALSE(is_expected(R"({"at":…})", R"({"at":1,"b":2})"));
}

TEST(Scene, MessagesAreComparedByteForByte) {
  EXPECT_TRUE(is_expected(R"({"message":{"a": 1}})", R"({"message":{"a": 1}})"));
  EXPECT_FALSE(is_expected(R"({"message":{"a": 1}})", R"({"message":{"a":1}})"));
  EXPECT_FALSE(is_expected(R"({"message":"\u0041"})", R"({"message":"A"})"));
  EXPECT_FALSE(is_expected(R"({"event":{"message":[1, 2],"group":null}})",
                           R"({"event":{"message":[1,2],"group":null}})"));
  EXPECT_FALSE(is_expected(R"({"signal":[1, 2]})", R"({"signal":[1,2]})"));
}

TEST(Scene, EverySceneHasANameAndAPlayer) {
  std::set<std::string> names;
  for (const auto& scene : read_scenes(WAYSTATION_SCENES)) {
    EXPECT_FALSE(scene.lines.empty()) << scene.file << ':' << scene.number;
    EXPECT_TRUE(names.insert(scene.file.stem().string() + scene.heading).second)
        << scene.heading << " has two scenes";
    EXPECT_TRUE(scene.player.empty() || scene.player == "router" || scene.player == "transport")
        << scene.file << ':' << scene.number << ": " << scene.player;
  }
  EXPECT_GT(names.size(), 50U);
}

}  // namespace
}  // namespace waystation::test
