#include "relay/node_name.hpp"

#include <gtest/gtest.h>

#include <string>

namespace waystation::test {
namespace {

TEST(NodeName, HasCharactersThatNoTextMustEscape) {
  for (const auto& name :
       {std::string("a"), std::string("Node-7.example_org"), std::string(kMaxNodeBytes, 'x')}) {
    EXPECT_TRUE(is_node_name(name)) << name;
  }
  for (const auto& name :
       {std::string(), std::string("a b"), std::string("a~b"), std::string("a/b"),
        std::string("\xc3\xa4"), std::string("a\0b", 3), std::string(kMaxNodeBytes + 1, 'x')}) {
    EXPECT_FALSE(is_node_name(name)) << name;
  }
}

}  // namespace
}  // namespace waystation::test
