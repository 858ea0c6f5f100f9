#include "http/audit_call.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/http/fake_relay.hpp"

namespace waystation::test {
namespace {

using test::FakeRelay;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

AuditRow row(std::int64_t id) {
  AuditRow result;
  result.id = id;
  result.at = 1'700'000'000'000 + id;
  result.outcome = AuditOutcome::pushed;
  result.node = "n1";
  result.group = "alice_bob";
  result.from = "alice";
  result.to = "bob";
  result.message_id = "m1";
  result.reached = 2;
  result.bytes = 10;
  return result;
}

/// The response, also for a refusal.
HttpResponse answer(RelayCalls& relay, std::string_view query) {
  auto answered = answer_audit(relay, query);
  return answered ? std::move(*answered) : to_response(answered.error());
}

TEST(AuditCall, RequestsOneRowMoreThanTheLimit) {
  FakeRelay relay;
  EXPECT_EQ(answer(relay, "").body, R"({"rows":[],"next":null})");
  relay.rows = std::vector<AuditRow>{row(1), row(2), row(3)};
  const HttpResponse response = answer(relay, "limit=2");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, HasSubstr(R"("id":2)"));
  EXPECT_THAT(response.body, testing::Not(HasSubstr(R"("id":3)")));
  EXPECT_THAT(response.body,
              EndsWith(R"(],"next":")" + AuditCursor{1'700'000'000'002, 2}.text() + "\"}"));
  EXPECT_THAT(relay.asked, ElementsAre("audit 101", "audit 3"));
}

TEST(AuditCall, ReturnsTheNewestFirstOnRequest) {
  FakeRelay relay;
  answer(relay, "");
  EXPECT_EQ(relay.order, AuditOrder::oldest);
  AuditRow gap;
  gap.id = 4;
  gap.outcome = AuditOutcome::gap;
  gap.at = 5;
  gap.lost_until = 9;
  relay.rows = std::vector<AuditRow>{gap, row(1)};
  EXPECT_THAT(answer(relay, "order=newest&limit=1").body, EndsWith(R"("next":"9.4"})"));
  EXPECT_EQ(relay.order, AuditOrder::newest);
  EXPECT_THAT(answer(relay, "order=oldest&limit=1").body, EndsWith(R"("next":"5.4"})"));
  EXPECT_EQ(relay.order, AuditOrder::oldest);
}

TEST(AuditCall, WritesEveryFieldOfARow) {
  FakeRelay relay;
  relay.rows = std::vector<AuditRow>{row(1)};
  EXPECT_EQ(answer(relay, "").body,
            R"({"rows":[{"id":1,"at":1700000000001,"node":"n1","group":"alice_bob",)"
            R"("from":"alice","to":"bob","outcome":"pushed","reached":2,"bytes":10,)"
            R"("message_id":"m1"}],"next":null})");
}

TEST(AuditCall, ReportsTheLostRowsOfAGap) {
  FakeRelay relay;
  AuditRow gap;
  gap.outcome = AuditOutcome::gap;
  gap.lost = 7;
  gap.lost_until = 5;
  relay.rows = std::vector<AuditRow>{gap};
  EXPECT_THAT(
      answer(relay, "").body,
      HasSubstr(R"("reached":null,"bytes":null,"message_id":null,"lost":7,"lost_until":5)"));
  relay.rows->front().lost.reset();
  EXPECT_THAT(answer(relay, "").body, HasSubstr(R"("lost":null,"lost_until":5)"));
}

TEST(AuditCall, PassesTheFilterOn) {
  FakeRelay relay;
  const AuditCursor cursor{7, 8};
  answer(relay, "since=5&until=9&user=a&from=b&to=c&outcome=dropped,gap&after=" + cursor.text());
  EXPECT_EQ(relay.filter.since, 5);
  EXPECT_EQ(relay.filter.until, 9);
  EXPECT_EQ(relay.filter.user, "a");
  EXPECT_EQ(relay.filter.from, "b");
  EXPECT_EQ(relay.filter.to, "c");
  EXPECT_TRUE(relay.filter.wants(AuditOutcome::dropped));
  EXPECT_TRUE(relay.filter.wants(AuditOutcome::gap));
  EXPECT_FALSE(relay.filter.wants(AuditOutcome::pushed));
  ASSERT_TRUE(relay.after);
  EXPECT_EQ(relay.after->at, 7);
  EXPECT_EQ(relay.after->id, 8);
}

TEST(AuditCall, AcceptsSeveralOutcomesInBothForms) {
  FakeRelay relay;
  for (const char* query : {"outcome=pushed,gap", "outcome=pushed&limit=5&outcome=gap"}) {
    EXPECT_EQ(answer(relay, query).status, 200);
    EXPECT_TRUE(relay.filter.wants(AuditOutcome::pushed)) << query;
    EXPECT_TRUE(relay.filter.wants(AuditOutcome::gap)) << query;
    EXPECT_FALSE(relay.filter.wants(AuditOutcome::dropped)) << query;
  }
}

TEST(AuditCall, RefusesAnUnknownParameterAndNamesTheKnownOnes) {
  FakeRelay relay;
  for (const char* query :
       {"form=bob", "to=bob&form=bob", "From=bob", "form", "=bob", "f%6frm=bob"}) {
    const HttpResponse response = answer(relay, query);
    EXPECT_EQ(response.status, 400) << query;
    EXPECT_THAT(response.body,
                HasSubstr("allowed are since, until, user, from, to, outcome, order, "
                          "limit, after\""))
        << query;
  }
  EXPECT_THAT(answer(relay, "f%6frm=bob").body, HasSubstr("form"));
  EXPECT_EQ(answer(relay, "%zz=1").status, 400);
  EXPECT_THAT(relay.asked, IsEmpty());
  EXPECT_EQ(answer(relay, "&fr%6fm=bob&&access_token=x&").status, 200);
  EXPECT_EQ(relay.filter.from, "bob");
}

TEST(AuditCall, RefusesInvalidValues) {
  FakeRelay relay;
  for (const char* query : {"since=x",
                            "since=1x",
                            "until=1e3",
                            "since=99999999999999999999",
                            "since=1&since=2",
                            "since=%zz",
                            "user=Alice",
                            "from=a_b",
                            "to=%00",
                            "outcome=lost",
                            "outcome=pushed,,gap",
                            "limit=0",
                            "limit=1001",
                            "limit=-1",
                            "limit=x",
                            "after=nonsense",
                            "order=latest",
                            "outcome=pushed&outcome=lost",
                            "outcome=%2",
                            "outcome=pushed&outcome=%"}) {
    const HttpResponse response = answer(relay, query);
    EXPECT_EQ(response.status, 400) << query;
    EXPECT_THAT(response.body, HasSubstr("bad_query")) << query;
  }
  EXPECT_THAT(relay.asked, IsEmpty());
}

TEST(AuditCall, ExplainsFailures) {
  struct Case {
    CallFailure::Cause cause;
    int http;
    const char* code;
  };
  for (const auto& [cause, http, code] : {
           Case{CallFailure::Cause::off, 404, "audit_off"},
           Case{CallFailure::Cause::timeout, 504, "timeout"},
           Case{CallFailure::Cause::failed, 503, "audit_unavailable"},
           Case{CallFailure::Cause::stopped, 503, "stopping"},
       }) {
    FakeRelay relay;
    relay.rows = CallFailure{cause, "because"};
    const HttpResponse response = answer(relay, "");
    EXPECT_EQ(response.status, http) << code;
    EXPECT_THAT(response.body, HasSubstr(code));
  }
}

}  // namespace
}  // namespace waystation::test
