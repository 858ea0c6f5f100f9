#include "admission/routes.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace waystation::test {
namespace {

using testing::HasSubstr;

TEST(Routes, ReadsBothWithAndWithoutTheLastSlash) {
  for (const char* path : {"/ws/chat/alice_bob/", "/ws/chat/alice_bob"}) {
    const auto parsed = parse_socket_route(path);
    ASSERT_TRUE(std::holds_alternative<SocketRoute>(parsed)) << path;
    const auto& route = std::get<SocketRoute>(parsed);
    EXPECT_EQ(route.kind, SocketKind::chat);
    EXPECT_EQ(route.name, "alice_bob");
    EXPECT_EQ(route.users.lo, "alice");
    EXPECT_EQ(route.users.hi, "bob");
  }
  for (const char* path : {"/push/alice/", "/push/alice"}) {
    const auto parsed = parse_socket_route(path);
    ASSERT_TRUE(std::holds_alternative<SocketRoute>(parsed)) << path;
    EXPECT_EQ(std::get<SocketRoute>(parsed).kind, SocketKind::push);
    EXPECT_EQ(std::get<SocketRoute>(parsed).name, "alice");
  }
}

TEST(Routes, DeclineOtherPaths) {
  for (const char* path :
       {"/", "", "/ws", "/ws/", "/ws/chat", "/wsfoo", "/WS/chat/a_b/", "/ws/Chat/a_b/", "/push",
        "/Push/a", "//push/a", "/./push/a", "/ws%2Fchat/a_b", "/ws/%63hat/a_b", "/a/../push/b",
        "/pushx/a", "/ws//chat/a_b", "push/a", "/index.html"}) {
    EXPECT_TRUE(std::holds_alternative<Declined>(parse_socket_route(path))) << path;
  }
}

TEST(Routes, RefuseInexactPaths) {
  struct Case {
    std::string_view path;
    int status;
    const char* code;
    const char* detail;
  };
  using namespace std::string_view_literals;
  for (const auto& [path, status, code, detail] : {
           Case{"/ws/chat/bob_alice/", 400, "bad_group", "alice_bob"},
           Case{"/ws/chat/10_9/", 400, "bad_group", "9_10"},
           Case{"/ws/chat/a_a/", 400, "bad_group", "two different users"},
           Case{"/ws/chat/alice/", 400, "bad_group", "<lo>_<hi>"},
           Case{"/ws/chat//", 400, "bad_group", "<lo>_<hi>"},
           Case{"/ws/chat/", 400, "bad_group", "<lo>_<hi>"},
           Case{"/ws/chat/a_b_c", 400, "bad_group", "<lo>_<hi>"},
           Case{"/ws/chat/Alice_bob/", 400, "bad_group", "0-9 and a-z"},
           Case{"/ws/chat/a.b_c/", 400, "bad_group", "0-9 and a-z"},
           Case{"/push/", 400, "bad_user", "0-9 and a-z"},
           Case{"/push//", 400, "bad_user", "0-9 and a-z"},
           Case{"/push/Alice/", 400, "bad_user", "0-9 and a-z"},
           Case{"/push/a_b/", 400, "bad_user", "0-9 and a-z"},
           Case{"/push/a b/", 400, "bad_user", "0-9 and a-z"},
           Case{"/push/\xC3\xA9/", 400, "bad_user", "0-9 and a-z"},
           Case{"/ws/chat/a_b//", 404, "not_found", "exactly"},
           Case{"/ws/chat/a_b/c", 404, "not_found", "exactly"},
           Case{"/ws/chat//a_b", 404, "not_found", "exactly"},
           Case{"/ws/chat/../chat/a_b", 404, "not_found", "exactly"},
           Case{"/ws/chat/..", 404, "not_found", "exactly"},
           Case{"/ws/chat/./", 404, "not_found", "exactly"},
           Case{"/ws/chat/a%5Fb/", 404, "not_found", "exactly"},
           Case{"/ws/chat/a_b%2F", 404, "not_found", "exactly"},
           Case{"/ws/chat/a_b%00/", 404, "not_found", "exactly"},
           Case{"/ws/chat/a_b\\/", 404, "not_found", "exactly"},
           Case{"/ws/chat/a_b\0/"sv, 404, "not_found", "exactly"},
           Case{"/push/a\n/", 404, "not_found", "exactly"},
           Case{"/push/a\x7F/", 404, "not_found", "exactly"},
           Case{"/push/a/b/", 404, "not_found", "exactly"},
           Case{"/push/../push/a", 404, "not_found", "exactly"},
       }) {
    const auto parsed = parse_socket_route(path);
    ASSERT_TRUE(std::holds_alternative<Refusal>(parsed)) << path;
    const auto& refusal = std::get<Refusal>(parsed);
    EXPECT_EQ(refusal.status(), status) << path;
    EXPECT_EQ(info_of(refusal.code).name, code) << path;
    EXPECT_THAT(refusal.detail, HasSubstr(detail)) << path;
  }
}

TEST(Routes, BoundsAName) {
  const std::string longest(64, 'a');
  EXPECT_TRUE(std::holds_alternative<SocketRoute>(parse_socket_route("/push/" + longest)));
  EXPECT_TRUE(std::holds_alternative<SocketRoute>(
      parse_socket_route("/ws/chat/" + longest + "_" + std::string(64, 'b'))));
  EXPECT_TRUE(std::holds_alternative<Refusal>(parse_socket_route("/push/" + longest + "a")));
  EXPECT_TRUE(std::holds_alternative<Refusal>(parse_socket_route("/ws/chat/" + longest + "a_b/")));
}

}  // namespace
}  // namespace waystation::test
