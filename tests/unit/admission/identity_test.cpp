#include "admission/identity.hpp"

#include <gtest/gtest.h>

namespace waystation::test {
namespace {

TEST(Scopes, AreReadFromNamesBetweenWhiteSpace) {
  struct Case {
    const char* text;
    bool push;
    bool admin;
  };
  for (const auto& [text, push, admin] : {
           Case{"", false, false},
           Case{"push", true, false},
           Case{"admin", false, true},
           Case{"  push \t admin ", true, true},
           Case{"openid admin profile", false, true},
           Case{"Push ADMIN", false, false},
           Case{"pushy admins", false, false},
           Case{"push,admin", false, false},
       }) {
    const Scopes scopes = Scopes::parse(text);
    EXPECT_EQ(scopes.has(Scope::push), push) << text;
    EXPECT_EQ(scopes.has(Scope::admin), admin) << text;
  }
}

}  // namespace
}  // namespace waystation::test
