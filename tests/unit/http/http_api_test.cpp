#include "http/http_api.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/admission/request_builder.hpp"
#include "unit/admission/signing.hpp"
#include "unit/http/fake_relay.hpp"

namespace waystation::test {
namespace {

using test::FakeRelay;
using test::RequestBuilder;
using testing::Contains;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Pair;
using testing::StartsWith;

constexpr std::int64_t kNow = 1'700'000'000'000;

class HttpApiTest : public testing::Test {
 protected:
  static AdmissionOptions options() {
    AdmissionOptions result;
    result.allowed_origins = {"https://page.example"};
    return result;
  }

  HttpResponse answer(const Request& request) {
    const auto answered = api.handle(admission.snapshot(), request, kNow);
    EXPECT_FALSE(std::holds_alternative<Declined>(answered));
    if (const auto* refusal = std::get_if<Refusal>(&answered)) return to_response(*refusal);
    return std::get<HttpResponse>(answered);
  }
  /// The status and, for a refusal, its code.
  std::string outcome(const Request& request) {
    const HttpResponse response = answer(request);
    const std::string_view body = response.body;
    constexpr std::string_view kCode = R"({"error":{"code":")";
    if (!body.starts_with(kCode)) return std::to_string(response.status);
    const std::string_view rest = body.substr(kCode.size());
    return std::to_string(response.status) + " " + std::string(rest.substr(0, rest.find('"')));
  }

  static RequestBuilder post(std::string target, std::string body) {
    return RequestBuilder::get(std::move(target))
        .method("POST")
        .header("Content-Type", "application/json")
        .body(std::move(body));
  }

  FakeRelay relay;
  Admission admission{options()};
  HttpApi api{relay};
};

TEST_F(HttpApiTest, PushesTheBodyByteForByte) {
  const HttpResponse response = answer(post("/api/v1/push/alice", " {\"a\": 1e400}\n"));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body, R"({"reached":3})");
  EXPECT_THAT(relay.asked, testing::ElementsAre("push alice  {\"a\": 1e400}\n"));
}

TEST_F(HttpApiTest, ReportsPresence) {
  EXPECT_EQ(answer(RequestBuilder::get("/api/v1/presence/alice")).body,
            R"({"user":"alice","push":2,"groups":["alice_bob","alice_carol"]})");
  relay.present = RelayCalls::Presence{};
  EXPECT_EQ(answer(RequestBuilder::get("/api/v1/presence/alice/")).body,
            R"({"user":"alice","push":0,"groups":[]})");
}

TEST_F(HttpApiTest, ListsTheUsersWhoAreHere) {
  relay.listed = UserPage{{{ShortText("alice"), 1, 2}}, false};
  for (const char* target : {"/api/v1/presence", "/api/v1/presence/"}) {
    EXPECT_EQ(answer(RequestBuilder::get(target)).body,
              R"({"users":[{"user":"alice","push_sockets":1,"groups":2,"nodes":1}],"next":null})");
  }
  EXPECT_EQ(outcome(RequestBuilder::get("/api/v1/presence?limit=7&after=bob")), "200");
  EXPECT_THAT(relay.asked, testing::ElementsAre("users  100", "users  100", "users bob 7"));
}

TEST_F(HttpApiTest, TellsAnOperatorWhatAUserMissedInOpenMode) {
  EXPECT_EQ(answer(RequestBuilder::get("/api/v1/missed?user=alice&since=17")).body,
            missed_text(*relay.tried));
  EXPECT_EQ(answer(RequestBuilder::get("/api/v1/missed/?user=alice&after=1-2-3-here")).status, 200);
  EXPECT_THAT(relay.asked, testing::ElementsAre("missed alice 17", "missed alice 1-2-3-here"));
  EXPECT_EQ(outcome(RequestBuilder::get("/api/v1/missed?user=alice&since=0").from("192.0.2.1")),
            "403 not_an_operator");
  EXPECT_EQ(outcome(RequestBuilder::get("/api/v1/missed?since=0")), "400 bad_query");
  EXPECT_EQ(outcome(RequestBuilder::get("/api/v1/missed?user=alice&since=0").method("POST")),
            "405 method_not_allowed");
}

TEST_F(HttpApiTest, SaysWhyThereIsNoAnswerWhatAUserMissed) {
  using enum CallFailure::Cause;
  for (const auto& [cause, expected] : {std::pair{off, "404 audit_off"},
                                        {failed, "503 audit_unavailable"},
                                        {busy, "503 audit_busy"},
                                        {too_fast, "429 rate_limited"},
                                        {timeout, "504 timeout"},
                                        {stopped, "503 stopping"}}) {
    relay.tried = CallFailure{cause, "why"};
    EXPECT_EQ(outcome(RequestBuilder::get("/api/v1/missed?user=alice&since=0")), expected);
  }
}

TEST_F(HttpApiTest, EndsSessions) {
  EXPECT_EQ(answer(RequestBuilder::get("/api/v1/sessions/alice").method("DELETE")).body,
            R"({"closed":4})");
  EXPECT_THAT(relay.asked, testing::ElementsAre("end alice"));
}

TEST_F(HttpApiTest, ReportsHealth) {
  const HttpResponse response = answer(RequestBuilder::get("/healthz"));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, R"({"status":"ok","version":"1.2.3","audit":"off",)"
                           R"("chat_sockets":7,"queued_bytes":5000000000})");
  relay.healthy.audit = "disk full";
  relay.healthy.audit_fault = "there is no room";
  EXPECT_THAT(answer(RequestBuilder::get("/healthz")).body,
              HasSubstr(R"("audit":"disk full","audit_fault":"there is no room",)"));
  relay.healthy.is_draining = true;
  const HttpResponse draining = answer(RequestBuilder::get("/healthz/"));
  EXPECT_EQ(draining.status, 503);
  EXPECT_THAT(draining.body, StartsWith(R"({"status":"draining",)"));
}

TEST_F(HttpApiTest, DeclinesOtherPaths) {
  for (const char* target : {"/", "/healthzz", "/healthz/x", "/apix", "/API/v1/push/alice",
                             "/ws/chat/alice_bob/", "/push/alice/", "*", "/%61pi/v1/push/alice"}) {
    EXPECT_TRUE(std::holds_alternative<Declined>(
        api.handle(admission.snapshot(), RequestBuilder::get(target), kNow)))
        << target;
  }
}

TEST_F(HttpApiTest, RefusesUnknownEndpoints) {
  for (const char* target :
       {"/api", "/api/", "/api/v1", "/api/v1/push/", "/api/v2/push/alice", "/api/v1/push",
        "/api/v1/Push/alice", "/api/v1/push/alice/bob", "/api/v1/push/alice//",
        "/api/v1/push/a%6cice", "/api/v1/push/..%2Falice", "/api/v1/presence/../push/alice",
        "/api//v1/push/alice"}) {
    EXPECT_EQ(outcome(post(target, "1")), "404 not_found") << target;
  }
  EXPECT_THAT(relay.asked, IsEmpty());
}

TEST_F(HttpApiTest, NeedsAUserId) {
  const std::string long_name(65, 'a');
  for (const std::string& name : {std::string("Alice"), std::string("a_b"), std::string("a b"),
                                  std::string(".."), long_name}) {
    EXPECT_EQ(outcome(post("/api/v1/push/" + name, "1")), "400 bad_user") << name;
  }
  EXPECT_THAT(relay.asked, IsEmpty());
}

TEST_F(HttpApiTest, NamesTheAllowedMethods) {
  struct Case {
    const char* method;
    const char* target;
    const char* allow;
  };
  for (const auto& [method, target, allow] : {
           Case{"GET", "/api/v1/push/alice", "POST"},
           Case{"HEAD", "/api/v1/push/alice", "POST"},
           Case{"POST", "/api/v1/presence/alice", "GET, HEAD"},
           Case{"get", "/api/v1/presence/alice", "GET, HEAD"},
           Case{"DELETE", "/api/v1/presence", "GET, HEAD"},
           Case{"POST", "/api/v1/sessions/alice", "DELETE"},
           Case{"GET", "/api/v1/sessions/alice", "DELETE"},
           Case{"POST", "/api/v1/audit", "GET, HEAD"},
           Case{"DELETE", "/healthz", "GET, HEAD"},
           Case{"OPTIONS", "/api/v1/push/alice", "POST"},
       }) {
    const HttpResponse response = answer(RequestBuilder::get(target).method(method));
    EXPECT_EQ(response.status, 405) << method << " " << target;
    EXPECT_THAT(response.headers, Contains(Pair("Allow", allow))) << method << " " << target;
  }
  EXPECT_THAT(relay.asked, IsEmpty());
}

TEST_F(HttpApiTest, AnswersHeadWithoutABody) {
  const RequestBuilder request = RequestBuilder::get("/api/v1/presence/alice").method("HEAD");
  const std::string text = render_for(request, answer(request));
  EXPECT_THAT(text, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(text, HasSubstr("Content-Length: 62\r\n"));
  EXPECT_THAT(text, EndsWith("\r\n\r\n"));
  const RequestBuilder get = RequestBuilder::get("/api/v1/presence/alice");
  EXPECT_THAT(render_for(get, answer(get)), EndsWith("\"]}"));
}

TEST_F(HttpApiTest, AcceptsOnlyJson) {
  struct Case {
    const char* type;
    const char* outcome;
  };
  for (const auto& [type, expected] : {
           Case{"application/json", "200"},
           Case{"Application/JSON", "200"},
           Case{"application/json; charset=utf-8", "200"},
           Case{"application/json;charset=\"UTF-8\";", "200"},
           Case{"application/json; charset=latin1", "415 unsupported_media_type"},
           Case{"application/json; profile=x", "415 unsupported_media_type"},
           Case{"application/json; charset=utf-8; charset=utf-16", "415 unsupported_media_type"},
           Case{"application/jsonp", "415 unsupported_media_type"},
           Case{"text/plain", "415 unsupported_media_type"},
           Case{"text/plain; application/json", "415 unsupported_media_type"},
           Case{"application/x-www-form-urlencoded", "415 unsupported_media_type"},
           Case{"", "415 unsupported_media_type"},
       }) {
    EXPECT_EQ(outcome(post("/api/v1/push/alice", "1").header("Content-Type", type)), expected)
        << type;
  }
  EXPECT_EQ(outcome(post("/api/v1/push/alice", "1").without("Content-Type")),
            "415 unsupported_media_type");
  EXPECT_EQ(outcome(post("/api/v1/push/alice", "1").add("content-type", "application/json")),
            "415 unsupported_media_type");
  EXPECT_EQ(outcome(post("/api/v1/push/alice", "1").header("Content-Encoding", "gzip")),
            "415 unsupported_media_type");
}

TEST_F(HttpApiTest, BoundsTheBody) {
  EXPECT_EQ(outcome(post("/api/v1/push/alice", std::string(100, '1'))), "200");
  relay.asked.clear();
  EXPECT_EQ(outcome(post("/api/v1/push/alice", std::string(101, '1'))), "413 too_large");
  EXPECT_EQ(outcome(post("/api/v1/push/alice", "1").truncated()), "413 too_large");
  EXPECT_THAT(relay.asked, IsEmpty());
}

TEST_F(HttpApiTest, ReadsTheBodyOnlyWithPermission) {
  int reads = 0;
  const BodySource source{[](void* count, char* buffer, std::size_t) {
                            ++*static_cast<int*>(count);
                            *buffer = '7';
                            return 1;
                          },
                          &reads};
  const auto request = [&](const char* target) {
    return post(target, "").header("Content-Length", "1").body_from(source);
  };
  EXPECT_EQ(outcome(request("/api/v1/push/alice").from("203.0.113.9")), "403 not_an_operator");
  EXPECT_EQ(outcome(request("/api/v1/push/alice").header("Origin", "https://evil.example")),
            "403 bad_origin");
  EXPECT_EQ(outcome(request("/api/v1/push/Alice")), "400 bad_user");
  EXPECT_EQ(outcome(request("/api/v1/push/alice").method("PUT")), "405 method_not_allowed");
  EXPECT_EQ(outcome(request("/api/v1/sessions/alice").method("DELETE")), "200");
  EXPECT_EQ(outcome(request("/api/v1/presence/alice").method("GET")), "200");
  EXPECT_EQ(reads, 0);
  relay.asked.clear();
  EXPECT_EQ(outcome(request("/api/v1/push/alice")), "200");
  EXPECT_EQ(reads, 1);
  EXPECT_THAT(relay.asked, testing::ElementsAre("push alice 7"));
}

TEST_F(HttpApiTest, ReportsTheErrorOfTheRelay) {
  relay.pushed = CallFailure{CallFailure::Cause::not_json, "a value must come next"};
  const HttpResponse not_json = answer(post("/api/v1/push/alice", ""));
  EXPECT_EQ(not_json.status, 400);
  EXPECT_THAT(not_json.body, HasSubstr("bad_json"));
  EXPECT_THAT(not_json.body, HasSubstr("a value must come next"));

  relay.pushed = relay.ended = CallFailure{CallFailure::Cause::timeout};
  relay.present = CallFailure{CallFailure::Cause::timeout};
  EXPECT_EQ(outcome(post("/api/v1/push/alice", "1")), "504 timeout");
  EXPECT_EQ(outcome(RequestBuilder::get("/api/v1/presence/alice")), "504 timeout");
  EXPECT_EQ(outcome(RequestBuilder::get("/api/v1/sessions/alice").method("DELETE")), "504 timeout");

  relay.pushed = relay.ended = CallFailure{CallFailure::Cause::stopped};
  relay.present = CallFailure{CallFailure::Cause::stopped};
  EXPECT_EQ(outcome(post("/api/v1/push/alice", "1")), "503 stopping");
  EXPECT_EQ(outcome(RequestBuilder::get("/api/v1/presence/alice")), "503 stopping");
  EXPECT_EQ(outcome(RequestBuilder::get("/api/v1/sessions/alice").method("DELETE")),
            "503 stopping");
}

TEST_F(HttpApiTest, IsForOperatorsInOpenMode) {
  const auto from_afar = [](RequestBuilder builder) { return builder.from("203.0.113.9"); };
  EXPECT_EQ(outcome(from_afar(post("/api/v1/push/alice", "1"))), "403 not_an_operator");
  EXPECT_EQ(outcome(from_afar(RequestBuilder::get("/api/v1/presence/alice"))),
            "403 not_an_operator");
  EXPECT_EQ(outcome(from_afar(RequestBuilder::get("/api/v1/presence"))), "403 not_an_operator");
  EXPECT_EQ(outcome(from_afar(RequestBuilder::get("/api/v1/sessions/alice").method("DELETE"))),
            "403 not_an_operator");
  EXPECT_EQ(outcome(from_afar(RequestBuilder::get("/healthz"))), "403 not_an_operator");
  EXPECT_THAT(relay.asked, IsEmpty());
}

TEST_F(HttpApiTest, NeedsTheScopeOfEachCall) {
  test::Folder folder;
  const std::string secret(32, 's');
  AdmissionOptions with_tokens;
  with_tokens.auth = Auth::jwt;
  with_tokens.jwt_key_file = folder.file("keys", test::base64(secret));
  ASSERT_TRUE(admission.reconfigure(with_tokens));
  const auto with = [&](RequestBuilder builder, const char* scope) {
    const std::string token = test::hs256_token(
        secret, std::string(R"({"exp":1700000060,"sub":"x","scope":")") + scope + "\"}");
    return outcome(builder.header("Authorization", "Bearer " + token));
  };
  const auto push = [] { return post("/api/v1/push/alice", "1"); };
  const auto presence = [] { return RequestBuilder::get("/api/v1/presence/alice"); };
  const auto sessions = [] {
    return RequestBuilder::get("/api/v1/sessions/alice").method("DELETE");
  };
  EXPECT_EQ(with(push(), "push"), "200");
  EXPECT_EQ(with(presence(), "push"), "200");
  EXPECT_EQ(with(sessions(), "admin"), "200");
  EXPECT_EQ(with(RequestBuilder::get("/api/v1/audit"), "admin"), "200");
  EXPECT_EQ(with(RequestBuilder::get("/api/v1/audit"), "push"), "403 missing_scope");
  EXPECT_EQ(with(RequestBuilder::get("/api/v1/presence"), "admin"), "200");
  EXPECT_EQ(with(RequestBuilder::get("/api/v1/presence"), "push"), "403 missing_scope");
  EXPECT_EQ(outcome(RequestBuilder::get("/api/v1/presence")), "401 unauthenticated");
  EXPECT_EQ(with(push(), "admin"), "403 missing_scope");
  EXPECT_EQ(with(presence(), "admin"), "403 missing_scope");
  EXPECT_EQ(with(sessions(), "push"), "403 missing_scope");
  EXPECT_EQ(outcome(push()), "401 unauthenticated");
  // The health status is for operators in every mode.
  EXPECT_EQ(outcome(RequestBuilder::get("/healthz")), "200");
  EXPECT_EQ(with(RequestBuilder::get("/healthz").from("203.0.113.9"), "push admin"),
            "403 not_an_operator");
}

/// The options may change during a request, here in `identify`. The response follows the options at
/// the start of the request, including its CORS header fields.
TEST_F(HttpApiTest, UsesOneSnapshotOfTheOptionsPerRequest) {
  AdmissionOptions with_callback;
  with_callback.auth = Auth::callback;
  with_callback.allowed_origins = {"https://page.example"};
  with_callback.identify = [&](const Request&) -> std::optional<Identity> {
    EXPECT_TRUE(admission.reconfigure({}));
    return std::nullopt;
  };
  ASSERT_TRUE(admission.reconfigure(with_callback));
  const auto response = answer(
      RequestBuilder::get("/api/v1/presence/alice").header("Origin", "https://page.example"));
  EXPECT_EQ(response.status, 401);
  EXPECT_THAT(response.headers,
              Contains(Pair("Access-Control-Allow-Origin", "https://page.example")));
}

TEST_F(HttpApiTest, RefusesPagesOfOtherOrigins) {
  EXPECT_EQ(outcome(post("/api/v1/push/alice", "1").header("Origin", "https://evil.example")),
            "403 bad_origin");
  EXPECT_EQ(outcome(post("/api/v1/push/alice", "1").header("Host", "rebound.example")),
            "403 bad_host");
  EXPECT_EQ(outcome(RequestBuilder::get("/healthz").header("Host", "rebound.example")),
            "403 bad_host");
  EXPECT_THAT(relay.asked, IsEmpty());
}

TEST_F(HttpApiTest, SendsCorsHeadersToAllowedOriginsOnly) {
  const auto headers = [&](const char* origin) {
    return answer(RequestBuilder::get("/api/v1/presence/alice").header("Origin", origin)).headers;
  };
  EXPECT_THAT(headers("https://page.example"),
              Contains(Pair("Access-Control-Allow-Origin", "https://page.example")));
  EXPECT_THAT(headers("http://127.0.0.1:8080"), IsEmpty());
  EXPECT_THAT(headers("https://evil.example"), IsEmpty());
}

TEST_F(HttpApiTest, AnswersAPreflightOfAnAllowedOriginOnly) {
  const auto preflight = [&](const char* origin) {
    return answer(RequestBuilder::get("/api/v1/sessions/alice")
                      .method("OPTIONS")
                      .header("Origin", origin)
                      .header("Access-Control-Request-Method", "DELETE"));
  };
  const HttpResponse allowed = preflight("https://page.example");
  EXPECT_EQ(allowed.status, 204);
  EXPECT_THAT(
      allowed.headers,
      IsSupersetOf(
          {Pair(std::string("Access-Control-Allow-Methods"), std::string("DELETE")),
           Pair(std::string("Access-Control-Allow-Origin"), std::string("https://page.example"))}));
  EXPECT_EQ(preflight("https://evil.example").status, 405);
  const HttpResponse own = preflight("http://127.0.0.1:8080");
  EXPECT_EQ(own.status, 204);
  EXPECT_THAT(own.headers, testing::ElementsAre(Pair("Allow", "DELETE")));
  EXPECT_EQ(answer(RequestBuilder::get("/api/v1/sessions/alice")
                       .method("OPTIONS")
                       .header("Origin", "https://page.example"))
                .status,
            405);
  EXPECT_THAT(relay.asked, IsEmpty());
}

}  // namespace
}  // namespace waystation::test
