#include "admission/refusal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace waystation::test {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(Refusal, IsACompleteHttpResponse) {
  EXPECT_EQ(render(Refusal{RefusalCode::bad_origin, "no"}),
            "HTTP/1.1 403 Forbidden\r\n"
            "Content-Type: application/json\r\n"
            "Content-Length: 45\r\n"
            "Cache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n"
            "\r\n"
            "{\"error\":{\"code\":\"bad_origin\",\"detail\":\"no\"}}");
}

TEST(Refusal, EscapesItsDetail) {
  EXPECT_THAT(render(Refusal{RefusalCode::bad_json, "a \"b\" \\ \n"}),
              EndsWith(R"({"error":{"code":"bad_json","detail":"a \"b\" \\ \n"}})"));
}

TEST(Refusal, SendsItsOwnFields) {
  const std::string text = render(Refusal{RefusalCode::full, "later", {{"Vary", "Origin"}}});
  EXPECT_THAT(text, HasSubstr("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\nVary: Origin\r\n"));
}

TEST(Refusal, SendsRetryAfterIfItsCodeHasIt) {
  EXPECT_THAT(render(Refusal{RefusalCode::full}), HasSubstr("\r\nRetry-After: 5\r\n"));
  EXPECT_THAT(render(Refusal{RefusalCode::not_adoptable}), HasSubstr("\r\nRetry-After: 1\r\n"));
  EXPECT_THAT(render(Refusal{RefusalCode::bad_host}), Not(HasSubstr("Retry-After")));
}

TEST(Refusal, DoesNotSendTheLogDetail) {
  Refusal refusal{RefusalCode::unauthenticated, "no"};
  refusal.log_detail = "kid secret";
  refusal.user = "alice";
  EXPECT_THAT(render(refusal), Not(HasSubstr("secret")));
  EXPECT_THAT(render(refusal), Not(HasSubstr("alice")));
}

TEST(RefusalCodes, HaveAStatusWithAReasonAndAText) {
  for (const auto& info : kRefusalCodes) {
    EXPECT_NE(reason_phrase(info.status), "Unknown") << info.name;
    EXPECT_FALSE(info.text.empty()) << info.name;
    EXPECT_EQ(info.retry_after_seconds != 0,
              info.status == 503 || info.code == RefusalCode::rate_limited)
        << info.name;
    EXPECT_THAT(render(Refusal{info.code}), HasSubstr(std::string(info.text))) << info.name;
  }
}

TEST(Refusal, NamesUpgradeAsAnOptionOfTheConnectionToo) {
  EXPECT_THAT(render(Refusal{RefusalCode::upgrade_required, "", {{"Upgrade", "websocket"}}}),
              HasSubstr("\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n"));
}

TEST(Refusal, OmitsFieldsWithLineBreaks) {
  const std::string text = render(Refusal{
      RefusalCode::internal, "", {{"A", "1\r\nSet-Cookie: a"}, {"B\n", "2"}, {"C", "3\r"}}});
  EXPECT_THAT(text, Not(HasSubstr("Set-Cookie")));
  EXPECT_THAT(text, Not(HasSubstr("B\n")));
  EXPECT_THAT(text, Not(HasSubstr("C: 3")));
}

TEST(HttpResponse, OmitsTheBodyForHead) {
  const std::string text = render(HttpResponse{200, "text/plain", "hello", {}}, true);
  EXPECT_THAT(text, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(text, EndsWith("\r\n\r\n"));
}

TEST(HttpResponse, HasNeitherBodyNorLengthWith204) {
  EXPECT_EQ(render(HttpResponse{204, "", "", {}}),
            "HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n");
}

TEST(HttpResponse, HasAReasonForEveryStatusInUse) {
  for (const int status :
       {200, 204, 400, 401, 403, 404, 405, 413, 415, 426, 429, 500, 501, 503, 504}) {
    EXPECT_NE(reason_phrase(status), "Unknown") << status;
  }
  EXPECT_EQ(reason_phrase(299), "Unknown");
}

}  // namespace
}  // namespace waystation::test
