#include "admission/refusal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace waystation {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(Refusal, IsAWholePlainHttpResponse) {
  EXPECT_EQ(render(Refusal{403, "bad_origin", "no"}),
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
  EXPECT_THAT(render(Refusal{400, "bad_json", "a \"b\" \\ \n"}),
              EndsWith(R"({"error":{"code":"bad_json","detail":"a \"b\" \\ \n"}})"));
}

TEST(Refusal, SendsItsOwnFields) {
  const std::string text = render(Refusal{503, "full", "later", {{"Retry-After", "5"}}});
  EXPECT_THAT(text, HasSubstr("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\nRetry-After: 5\r\n"));
}

TEST(Refusal, NamesUpgradeAsAnOptionOfTheConnectionToo) {
  EXPECT_THAT(render(Refusal{426, "upgrade_required", "", {{"Upgrade", "websocket"}}}),
              HasSubstr("\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n"));
}

TEST(Refusal, LetsNobodyWriteAFieldOfTheirOwn) {
  const std::string text =
      render(Refusal{400, "x", "", {{"A", "1\r\nSet-Cookie: a"}, {"B\n", "2"}, {"C", "3\r"}}});
  EXPECT_THAT(text, Not(HasSubstr("Set-Cookie")));
  EXPECT_THAT(text, Not(HasSubstr("B\n")));
  EXPECT_THAT(text, Not(HasSubstr("C: 3")));
}

TEST(HttpResponse, LeavesTheBodyOutForHead) {
  const std::string text = render(HttpResponse{200, "text/plain", "hello", {}}, true);
  EXPECT_THAT(text, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(text, EndsWith("\r\n\r\n"));
}

TEST(HttpResponse, HasNoBodyAndNoLengthWithoutContent) {
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
}  // namespace waystation
