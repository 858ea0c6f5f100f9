#include "http/users_call.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "unit/http/fake_relay.hpp"

namespace waystation::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// The response, also for a refusal.
HttpResponse answer(RelayCalls& relay, std::string_view query) {
  auto answered = answer_users(relay, query);
  return answered ? std::move(*answered) : to_response(answered.error());
}

TEST(UsersCall, WritesAPage) {
  FakeRelay relay;
  EXPECT_EQ(answer(relay, "").body, R"({"users":[],"next":null})");
  relay.listed = UserPage{{{ShortText("alice"), 2, 0}, {ShortText("bob"), 0, 31, 2}}, true};
  const auto response = answer(relay, "limit=2");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body, R"({"users":[{"user":"alice","push_sockets":2,"groups":0,"nodes":1},)"
                           R"({"user":"bob","push_sockets":0,"groups":31,"nodes":2}],)"
                           R"("next":"bob"})");
  relay.listed->users.clear();
  relay.listed->has_more = false;
  relay.listed->is_partial = true;
  EXPECT_EQ(answer(relay, "").body, R"({"users":[],"next":null,"partial":true})");
}

TEST(UsersCall, PassesTheParametersOn) {
  FakeRelay relay;
  for (const char* query : {"", "limit=1", "limit=1000&after=bob", "after=b%6fb",
                            "limit=&after=", "access_token=x&limit=5"}) {
    EXPECT_EQ(answer(relay, query).status, 200) << query;
  }
  EXPECT_THAT(relay.asked, ElementsAre("users  100", "users  1", "users bob 1000", "users bob 100",
                                       "users  100", "users  5"));
}

TEST(UsersCall, RefusesWrongParameters) {
  FakeRelay relay;
  const auto detail = [&](const std::string& query) {
    const auto response = answer(relay, query);
    EXPECT_EQ(response.status, 400) << query;
    EXPECT_THAT(response.body, HasSubstr("bad_query")) << query;
    return response.body;
  };
  for (const char* limit : {"0", "-1", "1001", "1e2", "0x10", " 1", "1 ", "+1", "%00", "1%00",
                            "18446744073709551617", "99999999999999999999999999999999999999"}) {
    EXPECT_THAT(detail(std::string("limit=") + limit), HasSubstr("limit: 1 to 1000")) << limit;
  }
  for (const std::string after : {"Bob", "a_b", "bob%00", "%ff", "..", "b'--"}) {
    EXPECT_THAT(detail("after=" + after), HasSubstr("after = ")) << after;
  }
  detail("after=" + std::string(65, 'a'));
  detail("after=" + std::string(100'000, 'a'));
  EXPECT_THAT(detail("after=%4"), HasSubstr("hexadecimal"));
  EXPECT_THAT(detail("limit=1&limit=2"), HasSubstr("more than once"));
  EXPECT_THAT(detail("user=bob"), HasSubstr("allowed are limit, after"));
  EXPECT_THAT(relay.asked, IsEmpty());
}

TEST(UsersCall, ExplainsFailures) {
  FakeRelay relay;
  relay.listed = CallFailure{CallFailure::Cause::timeout};
  EXPECT_EQ(answer(relay, "").status, 504);
  relay.listed = CallFailure{CallFailure::Cause::stopped};
  EXPECT_EQ(answer(relay, "").status, 503);
}

}  // namespace
}  // namespace waystation::test
