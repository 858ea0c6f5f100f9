#include "admission/admission.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "unit/admission/request_builder.hpp"
#include "unit/admission/signing.hpp"

namespace waystation::test {
namespace {

using test::RequestBuilder;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;
using testing::SizeIs;
using testing::StartsWith;

constexpr std::int64_t kNow = 1'700'000'000'000;
const std::string kSecret(32, 's');

/// The result of a request: "admitted", "declined", or status and code of the refusal.
struct Outcome {
  std::variant<Declined, Refusal, Admitted> result;

  std::string text() const {
    if (std::holds_alternative<Declined>(result)) return "declined";
    if (const auto* refusal = std::get_if<Refusal>(&result)) {
      return std::to_string(refusal->status()) + " " + std::string(info_of(refusal->code).name);
    }
    return "admitted";
  }
  const Refusal& refusal() const { return std::get<Refusal>(result); }
  const Admitted& admitted() const { return std::get<Admitted>(result); }
};

Outcome admit(Admission& admission, const Request& request, std::int64_t now = kNow) {
  return {admission.snapshot().admit(request, now)};
}

std::string outcome(Admission& admission, const Request& request, std::int64_t now = kNow) {
  return admit(admission, request, now).text();
}

/// "200", or status and code of the refusal.
std::string text(const Result<void, Refusal>& result) {
  if (result) return "200";
  return std::to_string(result.error().status()) + " " +
         std::string(info_of(result.error().code).name);
}

AdmissionOptions open_network() {
  AdmissionOptions options;
  options.allow_open_network = true;
  return options;
}

AdmissionOptions behind_proxy() {
  AdmissionOptions options;
  options.auth = Auth::header;
  options.trusted_proxies = {"10.0.0.1"};
  options.scopes_header = "X-Forwarded-Scopes";
  return options;
}

/// A request that the proxy forwarded for `user`.
RequestBuilder through_proxy(RequestBuilder builder, const char* user) {
  return builder.from("10.0.0.1")
      .header("X-Forwarded-For", "203.0.113.9")
      .header("X-Forwarded-User", user);
}

/// Options for tokens, with their key file.
class Tokens {
 public:
  Tokens() {
    options.auth = Auth::jwt;
    options.jwt_key_file = folder_.file("keys", test::base64(kSecret));
  }

  void write_key(const std::string& secret) { folder_.file("keys", test::base64(secret)); }

  /// A token for `user` that expires in a minute.
  static std::string token(const std::string& user, const std::string& scope = "") {
    return test::hs256_token(
        kSecret, R"({"exp":1700000060,"sub":")" + user + R"(","scope":")" + scope + "\"}");
  }

  AdmissionOptions options;

 private:
  test::Folder folder_;
};

// ---- admitted requests -----------------------------------------------------------------------

TEST(Admission, AdmitsAnAnonymousPlainSocketInOpenMode) {
  Admission admission({});
  const Outcome found = admit(admission, RequestBuilder::upgrade("/ws/chat/alice_bob/"));
  ASSERT_EQ(found.text(), "admitted");
  EXPECT_EQ(found.admitted().kind, SocketKind::chat);
  EXPECT_EQ(found.admitted().protocol, Protocol::plain);
  EXPECT_EQ(found.admitted().group, "alice_bob");
  EXPECT_EQ(found.admitted().user, "");
  EXPECT_EQ(found.admitted().caller, std::nullopt);
  EXPECT_EQ(found.admitted().key, "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_EQ(found.admitted().subprotocol, "");
  EXPECT_EQ(found.admitted().expires_at_ms, 0);
  EXPECT_TRUE(found.admitted().permit);
}

TEST(Admission, AdmitsANamedSocketOfTheSubprotocol) {
  Admission admission({});
  const Outcome found =
      admit(admission, RequestBuilder::upgrade("/ws/chat/alice_bob?user=bob")
                           .header("Sec-WebSocket-Protocol", "other, waystation.v1"));
  ASSERT_EQ(found.text(), "admitted");
  EXPECT_EQ(found.admitted().protocol, Protocol::v1);
  EXPECT_EQ(found.admitted().subprotocol, "waystation.v1");
  EXPECT_EQ(found.admitted().caller, "bob");
}

TEST(Admission, TakesTheCallerOfAPushSocketFromItsPath) {
  Admission admission({});
  const Outcome found = admit(admission, RequestBuilder::upgrade("/push/alice/"));
  ASSERT_EQ(found.text(), "admitted");
  EXPECT_EQ(found.admitted().kind, SocketKind::push);
  EXPECT_EQ(found.admitted().user, "alice");
  EXPECT_EQ(found.admitted().group, "");
  EXPECT_EQ(found.admitted().caller, "alice");
}

TEST(Admission, AdmitsAHandshakeInAbsoluteForm) {
  Admission admission({});
  EXPECT_EQ(outcome(admission, RequestBuilder::upgrade("http://127.0.0.1:8080/push/alice/")),
            "admitted");
}

TEST(Admission, DeclinesOtherPaths) {
  Admission admission({});
  for (const char* target : {"/", "/WS/chat/a_b/", "/api/v1/push/alice", "*", ""}) {
    EXPECT_EQ(outcome(admission, RequestBuilder::upgrade(target).without("Host")), "declined");
  }
}

// ---- the order of checks -----------------------------------------------------------------------

TEST(Admission, ChecksInTheOrderStated) {
  // This request fails every check. The test fixes one mistake after the other.
  AdmissionOptions options;
  options.limits.max_connections_per_user = 1;
  Admission admission(options);
  const Outcome first = admit(admission, RequestBuilder::upgrade("/push/alice/"));
  ASSERT_EQ(first.text(), "admitted");

  RequestBuilder request("/push/Alice/?user=bob");
  request.method("POST")
      .from("203.0.113.9")
      .header("Host", "evil.example")
      .header("Origin", "https://other.example")
      .header("Sec-WebSocket-Protocol", "other")
      .header("Upgrade", "websocket")
      .tls();
  EXPECT_EQ(outcome(admission, request), "400 bad_user");
  const auto with_target = [](const RequestBuilder& from, const char* target) {
    Request result = from;
    result.target = target;
    return result;
  };
  EXPECT_EQ(outcome(admission, with_target(request, "/push/alice/?user=bob")),
            "405 method_not_allowed");
  request.method("GET");
  const auto go = [&] { return outcome(admission, with_target(request, "/push/alice/?user=bob")); };
  EXPECT_EQ(go(), "403 bad_host");
  request.header("Host", "localhost");
  EXPECT_EQ(go(), "403 bad_origin");
  request.header("Origin", "https://localhost");
  EXPECT_EQ(go(), "401 unauthenticated");
  request.from("127.0.0.1");
  EXPECT_EQ(go(), "403 not_that_user");
  const auto go_on = [&] { return outcome(admission, with_target(request, "/push/alice/")); };
  EXPECT_EQ(go_on(), "400 bad_subprotocol");
  request.header("Sec-WebSocket-Protocol", "waystation.v1");
  EXPECT_EQ(go_on(), "501 tls_unsupported");
  Request plain = with_target(request, "/push/alice/");
  plain.is_tls = false;
  EXPECT_EQ(outcome(admission, plain), "429 too_many");
  plain.target = "/push/bob/";
  EXPECT_EQ(outcome(admission, plain), "400 bad_handshake");
}

// ---- the handshake -----------------------------------------------------------------------------

TEST(Admission, RefusesAnInvalidHandshake) {
  Admission admission({});
  const auto with = [&](const char* name, const char* value) {
    return outcome(admission, RequestBuilder::upgrade("/push/alice/").header(name, value));
  };
  EXPECT_EQ(with("Sec-WebSocket-Key", "short"), "400 bad_handshake");
  EXPECT_EQ(with("Sec-WebSocket-Key", ""), "400 bad_handshake");
  EXPECT_EQ(with("Sec-WebSocket-Version", "8"), "426 upgrade_required");
  EXPECT_EQ(with("Sec-WebSocket-Version", "13, 8"), "426 upgrade_required");
  EXPECT_EQ(with("Connection", "keep-alive"), "400 bad_handshake");
  EXPECT_EQ(with("Content-Length", "5"), "400 bad_handshake");
  EXPECT_EQ(with("Content-Length", "0"), "admitted");
  EXPECT_EQ(with("Transfer-Encoding", "chunked"), "400 bad_handshake");
  EXPECT_EQ(with("Upgrade", "h2c"), "426 upgrade_required");
  EXPECT_EQ(with("Upgrade", "h2c, WebSocket"), "admitted");
  // In a mode that accepts unidentified clients. HTTP/1.0 is unidentified.
  const Tokens tokens;
  Admission signed_ones(tokens.options);
  EXPECT_EQ(outcome(signed_ones, RequestBuilder::upgrade("/push/alice/")
                                     .header("Authorization", "Bearer " + Tokens::token("alice"))
                                     .version("1.0")),
            "400 bad_handshake");
  for (const char* field : {"Sec-WebSocket-Key", "Sec-WebSocket-Version"}) {
    EXPECT_NE(outcome(admission, RequestBuilder::upgrade("/push/alice/").without(field)),
              "admitted");
    EXPECT_NE(
        outcome(admission,
                RequestBuilder::upgrade("/push/alice/").add(field, "dGhlIHNhbXBsZSBub25jZQ==")),
        "admitted");
  }
  EXPECT_EQ(
      outcome(admission, RequestBuilder::upgrade("/push/alice/").without("Sec-WebSocket-Key")),
      "400 bad_handshake");
}

TEST(Admission, AnswersAPlainGetWith426IfAnUpgradeWouldSucceed) {
  Admission admission({});
  const Outcome found = admit(admission, RequestBuilder::get("/ws/chat/alice_bob/?user=bob"));
  ASSERT_EQ(found.text(), "426 upgrade_required");
  EXPECT_THAT(found.refusal().headers, Contains(Pair("Sec-WebSocket-Version", "13")));
  EXPECT_THAT(found.refusal().headers, Contains(Pair("Upgrade", "websocket")));
  EXPECT_EQ(outcome(admission, RequestBuilder::get("/ws/chat/alice_bob/?user=eve")),
            "403 not_a_member");
  EXPECT_EQ(outcome(admission, RequestBuilder::get("/ws/chat/bob_alice/")), "400 bad_group");
}

TEST(Admission, AcceptsOnlyGet) {
  Admission admission({});
  for (const char* method : {"POST", "HEAD", "OPTIONS", "get", ""}) {
    const Outcome found = admit(admission, RequestBuilder::upgrade("/push/alice/").method(method));
    EXPECT_EQ(found.text(), "405 method_not_allowed") << method;
    EXPECT_THAT(found.refusal().headers, ElementsAre(Pair("Allow", "GET")));
  }
}

TEST(Admission, AnswersAPreflightOfAnAllowedPageOnly) {
  AdmissionOptions options;
  options.allowed_origins = {"https://page.example"};
  Admission admission(options);
  const auto ask = [&](const char* target, const char* origin) {
    return admission.snapshot().preflight(
        RequestBuilder::get(target)
            .method("OPTIONS")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "authorization"));
  };
  for (const char* target : {"/push/alice/", "/ws/chat/alice_bob/?user=alice"}) {
    const auto allowed = ask(target, "https://page.example");
    ASSERT_TRUE(allowed) << target;
    EXPECT_EQ(allowed->status, 204);
    EXPECT_THAT(allowed->headers,
                AllOf(Contains(Pair("Access-Control-Allow-Origin", "https://page.example")),
                      Contains(Pair("Access-Control-Allow-Credentials", "true")),
                      Contains(Pair("Access-Control-Allow-Methods", "GET")),
                      Contains(Pair("Access-Control-Allow-Headers", HasSubstr("Authorization"))),
                      Contains(Pair("Vary", "Origin"))));
    const auto own = ask(target, "http://127.0.0.1:8080");
    ASSERT_TRUE(own) << target;
    EXPECT_THAT(own->headers, ElementsAre(Pair("Allow", "GET")));
    for (const char* other : {"https://evil.example", "null", "https://page.example:8443", ""}) {
      EXPECT_FALSE(ask(target, other)) << other;
    }
  }
  for (const char* target : {"/push/Alice/", "/ws/chat/bob_alice/", "/elsewhere", "*"}) {
    EXPECT_FALSE(ask(target, "https://page.example")) << target;
  }
  // Other OPTIONS requests and plain requests are not preflights.
  EXPECT_FALSE(admission.snapshot().preflight(RequestBuilder::get("/push/alice/")
                                                  .method("OPTIONS")
                                                  .header("Origin", "https://page.example")));
  EXPECT_FALSE(admission.snapshot().preflight(RequestBuilder::get("/push/alice/")
                                                  .method("OPTIONS")
                                                  .header("Access-Control-Request-Method", "GET")));
  EXPECT_FALSE(admission.snapshot().preflight(RequestBuilder::get("/push/alice/")
                                                  .header("Origin", "https://page.example")
                                                  .header("Access-Control-Request-Method", "GET")));
  EXPECT_FALSE(admission.snapshot().preflight(RequestBuilder::get("/push/alice/")
                                                  .method("OPTIONS")
                                                  .header("Host", "rebound.example")
                                                  .header("Origin", "https://page.example")
                                                  .header("Access-Control-Request-Method", "GET")));
}

TEST(Admission, ReleasesThePermitIfTheHandshakeFails) {
  AdmissionOptions options;
  options.limits.max_connections = 1;
  Admission admission(options);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(outcome(admission, RequestBuilder::get("/push/alice/")), "426 upgrade_required");
    EXPECT_EQ(outcome(admission,
                      RequestBuilder::upgrade("/push/alice/").header("Sec-WebSocket-Key", "bad")),
              "400 bad_handshake");
  }
  EXPECT_EQ(outcome(admission, RequestBuilder::upgrade("/push/alice/")), "admitted");
}

// ---- subprotocols ------------------------------------------------------------------------------

TEST(Admission, RefusesUnknownSubprotocols) {
  Admission admission({});
  const auto with = [&](const char* offers) {
    return admit(admission,
                 RequestBuilder::upgrade("/push/alice/").header("Sec-WebSocket-Protocol", offers));
  };
  EXPECT_EQ(with("chat").text(), "400 bad_subprotocol");
  EXPECT_EQ(with("bearer.abc").text(), "400 bad_subprotocol");
  EXPECT_EQ(with("Waystation.V1").text(), "400 bad_subprotocol");
  EXPECT_EQ(with("waystation.v11").text(), "400 bad_subprotocol");
  EXPECT_EQ(with("").text(), "admitted");
  EXPECT_EQ(with("").admitted().protocol, Protocol::plain);
  EXPECT_EQ(with("waystation.v1, bearer.abc").admitted().subprotocol, "waystation.v1");
  EXPECT_EQ(admit(admission, RequestBuilder::upgrade("/push/alice/")
                                 .add("Sec-WebSocket-Protocol", "chat")
                                 .add("sec-websocket-protocol", "waystation.v1"))
                .admitted()
                .protocol,
            Protocol::v1);
}

TEST(Admission, NeedsANamedUserForTheSubprotocol) {
  Admission admission({});
  EXPECT_EQ(outcome(admission, RequestBuilder::upgrade("/ws/chat/alice_bob/")
                                   .header("Sec-WebSocket-Protocol", "waystation.v1")),
            "401 unauthenticated");
}

// ---- open mode ---------------------------------------------------------------------------------

TEST(OpenMode, IsForLoopbackUnlessTheNetworkIsAllowed) {
  Admission local({});
  Admission network(open_network());
  for (const char* address : {"127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_EQ(outcome(local, RequestBuilder::upgrade("/push/alice/").from(address)), "admitted");
  }
  for (const char* address : {"203.0.113.9", "10.0.0.1", "::2"}) {
    const auto request = RequestBuilder::upgrade("/push/alice/").from(address);
    EXPECT_EQ(outcome(local, request), "401 unauthenticated") << address;
    EXPECT_EQ(outcome(network, request), "admitted") << address;
  }
  for (const char* nobodys : {"/run/socket", ""}) {
    const auto request = RequestBuilder::upgrade("/push/alice/").from(nobodys);
    EXPECT_EQ(outcome(local, request), "401 unauthenticated") << nobodys;
    EXPECT_EQ(outcome(network, request), "401 unauthenticated") << nobodys;
  }
}

TEST(OpenMode, RefusesClientsBehindAProxyThatIsNotConfigured) {
  Admission admission({});
  for (const char* field : {"X-Forwarded-For", "Forwarded", "X-Real-IP"}) {
    const Outcome found =
        admit(admission, RequestBuilder::upgrade("/push/alice/").header(field, "127.0.0.1"));
    EXPECT_EQ(found.text(), "401 unauthenticated") << field;
    EXPECT_THAT(found.refusal().detail, HasSubstr(field));
  }
}

TEST(OpenMode, UsesTheClientAddressFromATrustedProxy) {
  AdmissionOptions options;
  options.trusted_proxies = {"127.0.0.1"};
  Admission admission(options);
  const auto forwarded = [&](const char* entries) {
    return outcome(admission,
                   RequestBuilder::upgrade("/push/alice/").header("X-Forwarded-For", entries));
  };
  EXPECT_EQ(forwarded("203.0.113.9"), "401 unauthenticated");
  EXPECT_EQ(forwarded("127.0.0.1, 203.0.113.9"), "401 unauthenticated");
  EXPECT_EQ(forwarded("::1"), "admitted");
}

TEST(OpenMode, RefusesAHostThatIsNotLoopback) {
  Admission local({});
  Admission network(open_network());
  const auto with_host = [](const char* host) {
    return RequestBuilder::upgrade("/push/alice/").header("Host", host);
  };
  EXPECT_EQ(outcome(local, with_host("rebound.example:8080")), "403 bad_host");
  EXPECT_EQ(outcome(network, with_host("rebound.example:8080")), "403 bad_host");
  EXPECT_EQ(outcome(local, with_host("192.0.2.7")), "403 bad_host");
  EXPECT_EQ(outcome(network, with_host("192.0.2.7")), "admitted");
}

TEST(OpenMode, NamesTheCallerByOneParameter) {
  Admission admission({});
  const auto with = [&](const char* query) {
    return outcome(admission, RequestBuilder::upgrade("/ws/chat/alice_bob/").query(query));
  };
  EXPECT_EQ(with("user=alice"), "admitted");
  EXPECT_EQ(with("user=%61lice"), "admitted");
  EXPECT_EQ(with("User=eve"), "admitted");  // another parameter; the caller is anonymous
  EXPECT_EQ(with("user=eve"), "403 not_a_member");
  for (const char* query : {"user=", "user", "user=Alice", "user=alice&user=alice", "user=%zz",
                            "user=alice%00", "user=alice+"}) {
    EXPECT_EQ(with(query), "403 bad_subject") << query;
  }
}

TEST(OpenMode, RefusesAnotherUserOnAPushSocket) {
  Admission admission({});
  EXPECT_EQ(outcome(admission, RequestBuilder::upgrade("/push/alice/?user=bob")),
            "403 not_that_user");
  EXPECT_EQ(outcome(admission, RequestBuilder::upgrade("/push/alice/?user=alice")), "admitted");
}

// ---- origins -----------------------------------------------------------------------------------

TEST(Admission, RefusesPagesOfOtherOrigins) {
  AdmissionOptions options;
  options.allowed_origins = {"https://page.example"};
  Admission admission(options);
  const auto with = [&](const char* origin) {
    return admit(admission, RequestBuilder::upgrade("/push/alice/").header("Origin", origin));
  };
  EXPECT_EQ(with("http://127.0.0.1:8080").text(), "admitted");
  EXPECT_EQ(with("https://page.example").text(), "admitted");
  EXPECT_EQ(with("http://127.0.0.1:8081").text(), "403 bad_origin");
  EXPECT_EQ(with("null").text(), "403 bad_origin");
  EXPECT_THAT(with("https://evil.example").refusal().headers, IsEmpty());
}

TEST(Admission, LetsAnAllowedPageReadWhyItWasRefused) {
  AdmissionOptions options;
  options.allowed_origins = {"https://page.example"};
  Admission admission(options);
  const auto with = [&](const char* origin) {
    return admit(admission, RequestBuilder::get("/push/Alice/").header("Origin", origin));
  };
  EXPECT_THAT(with("https://page.example").refusal().headers,
              Contains(Pair("Access-Control-Allow-Origin", "https://page.example")));
  EXPECT_THAT(with("http://127.0.0.1:8080").refusal().headers, IsEmpty());
}

// ---- membership --------------------------------------------------------------------------------

TEST(Admission, RefusesNonMembersWithTheSameText) {
  Admission admission(behind_proxy());
  const Outcome friend_of_both =
      admit(admission, through_proxy(RequestBuilder::upgrade("/ws/chat/alice_bob/"), "alice"));
  ASSERT_EQ(friend_of_both.text(), "admitted");
  const Outcome known =
      admit(admission, through_proxy(RequestBuilder::upgrade("/ws/chat/alice_bob/"), "eve"));
  const Outcome unknown =
      admit(admission, through_proxy(RequestBuilder::upgrade("/ws/chat/x1_x2/"), "eve"));
  EXPECT_EQ(known.text(), "403 not_a_member");
  EXPECT_EQ(render(known.refusal()), render(unknown.refusal()));

  const Outcome push =
      admit(admission, through_proxy(RequestBuilder::upgrade("/push/alice/"), "eve"));
  EXPECT_EQ(push.text(), "403 not_that_user");
  EXPECT_EQ(
      render(push.refusal()),
      render(
          admit(admission, through_proxy(RequestBuilder::upgrade("/push/x1/"), "eve")).refusal()));
}

// ---- tokens ------------------------------------------------------------------------------------

TEST(JwtMode, AcceptsATokenInEachPlace) {
  Tokens tokens;
  Admission admission(tokens.options);
  const std::string token = Tokens::token("alice");
  const auto base = [] { return RequestBuilder::upgrade("/push/alice/"); };
  for (const RequestBuilder& request : {
           base().header("Authorization", "Bearer " + token),
           base().header("authorization", "bearer   " + token),
           base().header("Cookie", "waystation_token=" + token),
           base().header("Cookie", "a=b; waystation_token=\"" + token + "\"; c"),
           base().add("Cookie", "a=b").add("cookie", "waystation_token=" + token),
           base().header("Sec-WebSocket-Protocol", "waystation.v1, bearer." + token),
           base()
               .add("Sec-WebSocket-Protocol", "waystation.v1")
               .add("Sec-WebSocket-Protocol", "bearer." + token),
           base()
               .header("Authorization", "Bearertoken x")
               .header("Cookie", "waystation_token=" + token),
           base()
               .header("Authorization", "Basic YTpi")
               .header("Cookie", "waystation_token=" + token),
       }) {
    const Outcome found = admit(admission, request);
    ASSERT_EQ(found.text(), "admitted");
    EXPECT_EQ(found.admitted().caller, "alice");
    EXPECT_EQ(found.admitted().expires_at_ms, kNow + 60'000);
    EXPECT_THAT(std::string(found.admitted().subprotocol), Not(HasSubstr("bearer")));
  }
}

TEST(JwtMode, RefusesWithoutAValidToken) {
  Tokens tokens;
  Admission admission(tokens.options);
  const std::string token = Tokens::token("alice");
  const std::string forged =
      test::hs256_token(std::string(32, 'x'), R"({"exp":1800000000,"sub":"alice"})");
  const auto base = [] { return RequestBuilder::upgrade("/push/alice/?user=alice"); };
  for (const RequestBuilder& request : {
           base(),
           base().header("Authorization", "Bearer"),
           base().header("Authorization", "Bearer " + forged),
           base().header("Authorization", "Bearertoken " + token),
           base().header("Authorization", token),
           base().add("Authorization", "Bearer " + token).add("Authorization", "Bearer " + token),
           base().header("Cookie", "Waystation_token=" + token),
           base().header("Cookie", "waystation_token=" + token + "; waystation_token=" + forged),
           base().header("Cookie", "waystation_token=" + forged),
           base().header("Sec-WebSocket-Protocol",
                         "waystation.v1, bearer." + token + ", bearer." + forged),
           base().header("Sec-WebSocket-Protocol",
                         "waystation.v1, bearer." + forged + ", bearer." + token),
           base().header("Cookie", "waystation_token=" + forged + "; waystation_token=" + token),
           // An invalid token in the first place counts, even if another place has a valid one.
           base()
               .header("Authorization", "Bearer " + forged)
               .header("Cookie", "waystation_token=" + token),
       }) {
    const Outcome found = admit(admission, request);
    EXPECT_EQ(found.text(), "401 unauthenticated");
    EXPECT_THAT(found.refusal().headers, Contains(Pair("WWW-Authenticate", "Bearer")));
  }
  EXPECT_EQ(outcome(admission, base().header("Authorization", "Bearer " + token), kNow + 60'000),
            "401 unauthenticated");
}

TEST(JwtMode, RefusesATokenThatNestsDeeplyInEachOfItsPlaces) {
  Tokens tokens;
  tokens.options.allow_query_token = true;
  Admission admission(tokens.options);
  const auto base = [](const std::string& query = "") {
    return RequestBuilder::upgrade("/push/alice/" + query);
  };
  const std::string header = R"({"alg":"none"})";
  const std::string claims = R"({"exp":1700000060,"sub":"alice"})";
  for (const std::string& token :
       {test::signing_input(test::with_nested(header, 2000), claims) + ".",
        test::signing_input(R"({"alg":"HS256"})", test::with_nested(claims, 2000)) + ".",
        test::hs256_token(kSecret, test::with_nested(claims, 2000))}) {
    for (const RequestBuilder& request :
         {base().header("Authorization", "Bearer " + token),
          base().header("Cookie", "waystation_token=" + token),
          base().header("Sec-WebSocket-Protocol", "waystation.v1, bearer." + token),
          base("?access_token=" + token)}) {
      EXPECT_EQ(outcome(admission, request), "401 unauthenticated");
    }
    EXPECT_EQ(text(admission.snapshot().authorize(base().header("Authorization", "Bearer " + token),
                                                  Scope::push, kNow)),
              "401 unauthenticated");
  }
}

TEST(JwtMode, AcceptsATokenInTheQueryOnlyIfAllowed) {
  Tokens tokens;
  const auto request =
      RequestBuilder::upgrade("/push/alice/?access_token=" + Tokens::token("alice"));
  Admission strict(tokens.options);
  EXPECT_EQ(outcome(strict, request), "401 unauthenticated");
  tokens.options.allow_query_token = true;
  Admission lenient(tokens.options);
  EXPECT_EQ(outcome(lenient, request), "admitted");
  EXPECT_EQ(outcome(lenient, RequestBuilder::upgrade("/push/alice/?access_token=" +
                                                     Tokens::token("alice") + "&access_token=x")),
            "401 unauthenticated");
}

TEST(JwtMode, NeedsASubjectThatIsAUserId) {
  Tokens tokens;
  Admission admission(tokens.options);
  const auto with_claims = [&](const std::string& claims) {
    return outcome(admission,
                   RequestBuilder::upgrade("/push/alice/")
                       .header("Authorization", "Bearer " + test::hs256_token(kSecret, claims)));
  };
  EXPECT_EQ(with_claims(R"({"exp":1700000060})"), "403 bad_subject");
  EXPECT_EQ(with_claims(R"({"exp":1700000060,"sub":7})"), "403 bad_subject");
  EXPECT_EQ(with_claims(R"({"exp":1700000060,"sub":"Alice"})"), "403 bad_subject");
  EXPECT_EQ(with_claims(R"({"exp":1700000060,"sub":""})"), "403 bad_subject");
  EXPECT_EQ(with_claims(R"({"exp":1700000060,"sub":"bob"})"), "403 not_that_user");
  const std::string nameless = "Bearer " + test::hs256_token(kSecret, R"({"exp":1700000060})");
  EXPECT_EQ(admit(admission,
                  RequestBuilder::upgrade("/push/alice/").header("Authorization", nameless), kNow)
                .refusal()
                .detail,
            "the token's sub is missing or not a user: 1 to 64 of the characters 0-9 and a-z");
}

TEST(JwtMode, ChecksIssuerAndAudienceAsConfigured) {
  Tokens tokens;
  tokens.options.jwt_issuer = "me";
  tokens.options.jwt_audience = {"chat"};
  Admission admission(tokens.options);
  const auto with = [&](const char* claims) {
    return outcome(admission,
                   RequestBuilder::upgrade("/push/alice/")
                       .header("Authorization", "Bearer " + test::hs256_token(kSecret, claims)));
  };
  EXPECT_EQ(with(R"({"exp":1700000060,"sub":"alice","iss":"me","aud":["chat"]})"), "admitted");
  EXPECT_EQ(with(R"({"exp":1700000060,"sub":"alice","iss":"you","aud":["chat"]})"),
            "401 unauthenticated");
  EXPECT_EQ(with(R"({"exp":1700000060,"sub":"alice","iss":"me","aud":"mail"})"),
            "401 unauthenticated");
}

TEST(JwtMode, ChangesItsKeysWhileItRuns) {
  Tokens tokens;
  Admission admission(tokens.options);
  const std::string other(32, 'o');
  const auto with_secret = [&](const std::string& secret) {
    return outcome(
        admission,
        RequestBuilder::upgrade("/push/alice/")
            .header("Authorization",
                    "Bearer " + test::hs256_token(secret, R"({"exp":1700000060,"sub":"alice"})")));
  };
  EXPECT_EQ(with_secret(kSecret), "admitted");
  EXPECT_EQ(with_secret(other), "401 unauthenticated");
  tokens.write_key(other);
  EXPECT_TRUE(admission.reconfigure(tokens.options));
  EXPECT_EQ(with_secret(kSecret), "401 unauthenticated");
  EXPECT_EQ(with_secret(other), "admitted");
  tokens.write_key("weak");
  const auto reloaded = admission.reconfigure(tokens.options);
  ASSERT_FALSE(reloaded);
  EXPECT_EQ(reloaded.error().option, "jwt_key_file");
  EXPECT_THAT(reloaded.error().message, AllOf(HasSubstr("jwt_key_file = "), HasSubstr("32 bytes")));
  EXPECT_EQ(with_secret(other), "admitted");
}

TEST(JwtMode, ReturnsTheExpiryOfARefreshedToken) {
  Tokens tokens;
  Admission admission(tokens.options);
  const auto refresh = [&](const std::string& token, std::int64_t now = kNow) {
    const auto refreshed = admission.snapshot().refresh(token, "alice", now);
    return refreshed ? std::to_string(refreshed->expires_at_ms) : refreshed.error().detail;
  };
  EXPECT_EQ(refresh(Tokens::token("alice")), std::to_string(kNow + 60'000));
  EXPECT_THAT(refresh(Tokens::token("bob")), HasSubstr("another user's"));
  EXPECT_THAT(refresh("nonsense"), HasSubstr("not a JSON Web Token"));
  EXPECT_THAT(refresh(Tokens::token("alice"), kNow + 60'000), HasSubstr("expired"));
  EXPECT_FALSE(Admission({}).snapshot().refresh(Tokens::token("alice"), "alice", kNow));
}

// ---- proxies that name the caller --------------------------------------------------------------

TEST(HeaderMode, TrustsOnlyTheTrustedProxy) {
  Admission admission(behind_proxy());
  const Outcome found =
      admit(admission, through_proxy(RequestBuilder::upgrade("/push/alice/"), "alice"));
  ASSERT_EQ(found.text(), "admitted");
  EXPECT_EQ(found.admitted().caller, "alice");
  EXPECT_EQ(found.admitted().expires_at_ms, 0);
  for (const char* address : {"10.0.0.2", "127.0.0.1", "203.0.113.9"}) {
    EXPECT_EQ(
        outcome(admission,
                through_proxy(RequestBuilder::upgrade("/push/alice/"), "alice").from(address)),
        "401 unauthenticated");
  }
}

TEST(HeaderMode, NeedsOneNameThatIsAUserId) {
  Admission admission(behind_proxy());
  const auto base = [](const char* user) {
    return through_proxy(RequestBuilder::upgrade("/push/alice/?user=alice"), user);
  };
  EXPECT_EQ(outcome(admission, base("")), "401 unauthenticated");
  EXPECT_EQ(outcome(admission, base("alice").without("X-Forwarded-User")), "401 unauthenticated");
  EXPECT_EQ(outcome(admission, base("alice").add("x-forwarded-user", "alice")),
            "401 unauthenticated");
  EXPECT_EQ(outcome(admission, base("Alice Smith")), "403 bad_subject");
}

TEST(HeaderMode, ReadsTheHeaderThatIsConfigured) {
  AdmissionOptions options = behind_proxy();
  options.identity_header = "Remote-User";
  Admission admission(options);
  EXPECT_EQ(outcome(admission, through_proxy(RequestBuilder::upgrade("/push/alice/"), "alice")),
            "401 unauthenticated");
  EXPECT_EQ(outcome(admission, through_proxy(RequestBuilder::upgrade("/push/alice/"), "bob")
                                   .header("Remote-User", "alice")),
            "admitted");
}

// ---- the identify callback ---------------------------------------------------------------------

TEST(CallbackMode, CallsTheHostApplication) {
  AdmissionOptions options;
  options.auth = Auth::callback;
  const int connection = 7;
  options.identify = [&](const Request& request) -> std::optional<Identity> {
    EXPECT_EQ(request.origin, &connection);
    const OneValue name = header_value(request, "X-Session");
    if (!name.is_one()) return std::nullopt;
    if (name.value == "throw") throw std::runtime_error("no");
    return Identity{std::string(name.value), Scopes::parse("push"), kNow + 1000};
  };
  Admission admission(options);
  const auto with = [&](const char* session, std::int64_t now = kNow) {
    const RequestBuilder builder =
        RequestBuilder::upgrade("/push/alice/").header("X-Session", session);
    Request request = builder;
    request.origin = &connection;
    return admit(admission, request, now);
  };
  EXPECT_EQ(with("alice").text(), "admitted");
  EXPECT_EQ(with("alice").admitted().expires_at_ms, kNow + 1000);
  EXPECT_EQ(with("bob").text(), "403 not_that_user");
  EXPECT_EQ(with("Alice").text(), "403 bad_subject");
  EXPECT_EQ(with("throw").text(), "500 internal");
  EXPECT_EQ(with("alice", kNow + 1000).text(), "401 unauthenticated");
}

TEST(CallbackMode, RefusesACallerWithoutIdentity) {
  AdmissionOptions options;
  options.auth = Auth::callback;
  options.identify = [](const Request& request) -> std::optional<Identity> {
    if (request.local_port == 1) return Identity{};
    return std::nullopt;
  };
  Admission admission(options);
  const RequestBuilder builder = RequestBuilder::upgrade("/ws/chat/alice_bob/?user=alice");
  EXPECT_EQ(outcome(admission, builder), "401 unauthenticated");
  Request nameless = builder;
  nameless.local_port = 1;
  EXPECT_EQ(outcome(admission, nameless), "403 bad_subject");
}

// ---- the door ----------------------------------------------------------------------------------

/// A client's own fields, which claim to be a proxy's.
RequestBuilder with_forged_fields(RequestBuilder builder) {
  return builder.header("X-Forwarded-For", "127.0.0.1")
      .header("Forwarded", "for=127.0.0.1")
      .header("X-Real-IP", "127.0.0.1")
      .header("Via", "1.1 proxy")
      .header("X-Forwarded-User", "mallory")
      .header("X-Forwarded-Scopes", "admin");
}

TEST(ThroughTheDoor, TheAskerNamesTheCallerInHeaderMode) {
  Admission admission(behind_proxy());
  const auto base = [] { return with_forged_fields(RequestBuilder::upgrade("/push/alice/")); };
  for (const char* address : {"10.0.0.1", "203.0.113.9"}) {  // one of trusted_proxies, another
    const auto found = admit(admission, base().from(address).handed_over("alice"));
    ASSERT_EQ(found.text(), "admitted") << address;
    EXPECT_EQ(found.admitted().caller, "alice");
    EXPECT_EQ(outcome(admission, base().from(address).handed_over()), "401 unauthenticated");
    EXPECT_EQ(outcome(admission, base().from(address).handed_over("bob")), "403 not_that_user");
    EXPECT_EQ(outcome(admission, base().from(address).handed_over("Alice")), "403 bad_subject");
  }
  const auto mallory = with_forged_fields(RequestBuilder::upgrade("/push/mallory/"));
  EXPECT_EQ(outcome(admission, RequestBuilder(mallory).from("10.0.0.1")), "admitted")
      << "not through the door, a trusted proxy's fields count";
}

TEST(ThroughTheDoor, ScopesAreTheAskersAndNotTheFields) {
  Admission admission(behind_proxy());
  const auto base = with_forged_fields(RequestBuilder::get("/api/v1/sessions/bob"));
  const auto with = [&](std::string scopes) {
    return text(admission.snapshot().authorize(
        RequestBuilder(base).from("10.0.0.1").handed_over("alice", std::move(scopes)), Scope::admin,
        kNow));
  };
  EXPECT_EQ(with("push admin"), "200");
  EXPECT_EQ(with("push"), "403 missing_scope");
  EXPECT_EQ(with(""), "403 missing_scope");
}

TEST(ThroughTheDoor, NoOtherModeAcceptsAnIdentityOfTheAsker) {
  const auto base = RequestBuilder::upgrade("/push/alice/");
  Admission open({});
  EXPECT_EQ(outcome(open, RequestBuilder(base).handed_over()), "admitted");
  EXPECT_EQ(outcome(open, RequestBuilder(base).handed_over("alice")), "403 identity_not_accepted");

  Tokens tokens;
  Admission jwt(tokens.options);
  const auto signed_request =
      RequestBuilder(base).header("Authorization", "Bearer " + Tokens::token("alice"));
  EXPECT_EQ(outcome(jwt, RequestBuilder(signed_request).handed_over()), "admitted");
  EXPECT_EQ(outcome(jwt, RequestBuilder(base).handed_over()), "401 unauthenticated");
  for (const auto& request : {signed_request, base}) {
    EXPECT_EQ(outcome(jwt, RequestBuilder(request).handed_over("alice")),
              "403 identity_not_accepted");
  }

  AdmissionOptions options;
  options.auth = Auth::callback;
  options.identify = [](const Request&) { return Identity{"alice", {}, 0}; };
  Admission callback(options);
  EXPECT_EQ(outcome(callback, RequestBuilder(base).handed_over()), "admitted");
  EXPECT_EQ(outcome(callback, RequestBuilder(base).handed_over("alice")),
            "403 identity_not_accepted");
}

TEST(ThroughTheDoor, OpenModeChecksTheAddressOfTheAskAndNoField) {
  AdmissionOptions options;
  options.trusted_proxies = {"203.0.113.0/24"};
  Admission open(options);
  const auto from = [&](const char* address) {
    return outcome(
        open,
        with_forged_fields(RequestBuilder::upgrade("/push/alice/")).from(address).handed_over());
  };
  EXPECT_EQ(from("127.0.0.1"), "admitted");
  EXPECT_EQ(from("::1"), "admitted");
  EXPECT_EQ(from("203.0.113.9"), "401 unauthenticated") << "the fields say 127.0.0.1";
  EXPECT_EQ(from(""), "401 unauthenticated");
  EXPECT_EQ(from("unix:"), "401 unauthenticated");
  const auto request = RequestBuilder::upgrade("/push/alice/").version("1.0").handed_over();
  EXPECT_EQ(outcome(open, request), "400 bad_handshake") << "HTTP/1.0 is no sign of a proxy here";
}

TEST(ThroughTheDoor, LimitsCountTheAddressOfTheAsk) {
  AdmissionOptions options = open_network();
  options.limits = {0, 0, 1};
  options.trusted_proxies = {"203.0.113.0/24"};
  Admission admission(options);
  const auto from = [&](const char* address) {
    return admit(
        admission,
        with_forged_fields(RequestBuilder::upgrade("/push/alice/")).from(address).handed_over());
  };
  const auto first = from("203.0.113.9");
  EXPECT_EQ(first.text(), "admitted");
  EXPECT_EQ(from("203.0.113.9").text(), "429 too_many");
  EXPECT_EQ(from("203.0.113.10").text(), "admitted");
  EXPECT_EQ(admission.snapshot().client_of(
                with_forged_fields(RequestBuilder::get("/")).from("192.0.2.7").handed_over()),
            "192.0.2.7");
}

TEST(ThroughTheDoor, AnAskerMayEndTls) {
  Admission admission({});
  const auto base = RequestBuilder::upgrade("/push/alice/").tls();
  EXPECT_EQ(outcome(admission, base), "501 tls_unsupported");
  EXPECT_EQ(outcome(admission, RequestBuilder(base).handed_over()), "admitted");
}

TEST(ThroughTheDoor, AnAskerNeedsTheKeyIfThereIsOne) {
  const auto checked = [](Admission& admission, std::string_view key) {
    return text(admission.snapshot().check_asker({key, {}, {}}));
  };
  Admission open({});
  EXPECT_EQ(checked(open, ""), "200");
  EXPECT_EQ(checked(open, "any"), "200");

  test::Folder folder;
  AdmissionOptions options;
  options.handover_key_file = folder.file("key", "0123456789abcdef\n");
  Admission admission(options);
  EXPECT_EQ(checked(admission, "0123456789abcdef"), "200") << "without the line break";
  for (const char* key : {"", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef\n"}) {
    EXPECT_EQ(checked(admission, key), "502 bad_handover") << key;
  }
  folder.file("key", std::string(256, 'k'));
  EXPECT_EQ(checked(admission, "0123456789abcdef"), "200") << "until it is read again";
  EXPECT_TRUE(admission.reconfigure(options));
  EXPECT_EQ(checked(admission, "0123456789abcdef"), "502 bad_handover");
  EXPECT_EQ(checked(admission, std::string(256, 'k')), "200");
}

// ---- limits ------------------------------------------------------------------------------------

TEST(Admission, LimitsSocketsPerUserPerAddressAndInTotal) {
  AdmissionOptions options = open_network();
  options.limits = {4, 2, 3};
  Admission admission(options);
  std::vector<Outcome> held;
  const auto open = [&](const char* target, const char* address) {
    held.push_back(admit(admission, RequestBuilder::upgrade(target).from(address)));
    return held.back().text();
  };
  EXPECT_EQ(open("/push/alice/", "192.0.2.1"), "admitted");
  EXPECT_EQ(open("/push/alice/", "192.0.2.2"), "admitted");
  EXPECT_EQ(open("/ws/chat/alice_bob/?user=alice", "192.0.2.3"), "429 too_many");
  EXPECT_EQ(open("/ws/chat/alice_bob/?user=bob", "192.0.2.1"), "admitted");
  EXPECT_EQ(open("/ws/chat/alice_bob/", "::ffff:192.0.2.1"), "admitted");
  held.pop_back();
  EXPECT_EQ(open("/push/carol/", "192.0.2.1"), "admitted");
  EXPECT_EQ(open("/push/dave/", "192.0.2.9"), "503 full");
  EXPECT_THAT(render(held.back().refusal()), HasSubstr("\r\nRetry-After: "));
  held.clear();
  EXPECT_EQ(open("/push/alice/", "192.0.2.1"), "admitted");
}

TEST(Admission, CountsThePeerIfTheClientIsUnidentified) {
  Tokens tokens;
  tokens.options.limits = {0, 0, 1};
  Admission admission(tokens.options);
  const auto told = [](const char* address) {
    return RequestBuilder::upgrade("/push/alice/")
        .header("Authorization", "Bearer " + Tokens::token("alice"))
        .from("192.0.2.1")
        .header("X-Forwarded-For", address);
  };
  const Outcome first = admit(admission, told("198.51.100.1"));
  EXPECT_EQ(first.text(), "admitted");
  // A different X-Forwarded-For does not change the address that is counted.
  EXPECT_EQ(outcome(admission, told("198.51.100.2")), "429 too_many");
}

TEST(OpenMode, RefusesClientsBehindAnUntrustedProxy) {
  Admission admission(open_network());
  const auto plain = [] { return RequestBuilder::upgrade("/push/alice/").from("192.0.2.1"); };
  EXPECT_EQ(outcome(admission, plain()), "admitted");
  EXPECT_EQ(outcome(admission, plain().header("X-Forwarded-For", "198.51.100.1")),
            "401 unauthenticated");
}

TEST(Admission, CountsClientsBehindATrustedProxySeparately) {
  AdmissionOptions options = behind_proxy();
  options.limits = {0, 0, 1};
  Admission admission(options);
  const auto open = [&](const char* client) {
    return admit(admission, through_proxy(RequestBuilder::upgrade("/push/alice/"), "alice")
                                .header("X-Forwarded-For", client));
  };
  const Outcome first = open("203.0.113.9");
  const Outcome second = open("203.0.113.10");
  EXPECT_EQ(first.text(), "admitted");
  EXPECT_EQ(second.text(), "admitted");
  EXPECT_EQ(open("203.0.113.9").text(), "429 too_many");
}

// ---- scopes and operators ----------------------------------------------------------------------

TEST(Authorization, IsForOperatorsInOpenMode) {
  AdmissionOptions options = open_network();
  options.operators = {"192.0.2.0/24"};
  Admission admission(options);
  const auto from = [&](const char* address) {
    return text(admission.snapshot().authorize(
        RequestBuilder::get("/api/v1/push/alice").from(address), Scope::admin, kNow));
  };
  EXPECT_EQ(from("192.0.2.7"), "200");
  EXPECT_EQ(from("127.0.0.1"), "403 not_an_operator");
  EXPECT_EQ(text(admission.snapshot().authorize(RequestBuilder::get("/api/v1/push/alice")
                                                    .from("192.0.2.7")
                                                    .header("X-Forwarded-For", "192.0.2.7"),
                                                Scope::push, kNow)),
            "403 not_an_operator");
}

TEST(Authorization, NeedsTheScopeOfAToken) {
  Tokens tokens;
  Admission admission(tokens.options);
  const auto with = [&](const std::string& token, Scope scope) {
    return text(admission.snapshot().authorize(
        RequestBuilder::get("/api/v1/push/alice").header("Authorization", "Bearer " + token), scope,
        kNow));
  };
  EXPECT_EQ(with(Tokens::token("alice", "push"), Scope::push), "200");
  EXPECT_EQ(with(Tokens::token("alice", "push"), Scope::admin), "403 missing_scope");
  EXPECT_EQ(with(Tokens::token("alice", "admin"), Scope::push), "403 missing_scope");
  EXPECT_EQ(with(Tokens::token("A service", "push admin"), Scope::admin), "200");
  EXPECT_EQ(with(Tokens::token("alice"), Scope::push), "403 missing_scope");
  EXPECT_EQ(with("nonsense", Scope::push), "401 unauthenticated");
  // A loopback address gives no scope.
  EXPECT_EQ(text(admission.snapshot().authorize(RequestBuilder::get("/"), Scope::push, kNow)),
            "401 unauthenticated");
}

TEST(Authorization, ReadsTheScopesHeaderOfTheProxy) {
  Admission admission(behind_proxy());
  const auto with = [&](const char* scopes) {
    return text(admission.snapshot().authorize(
        through_proxy(RequestBuilder::get("/"), "alice").header("X-Forwarded-Scopes", scopes),
        Scope::push, kNow));
  };
  EXPECT_EQ(with("admin push"), "200");
  EXPECT_EQ(with("admin"), "403 missing_scope");
  EXPECT_EQ(text(admission.snapshot().authorize(through_proxy(RequestBuilder::get("/"), "alice")
                                                    .add("X-Forwarded-Scopes", "push")
                                                    .add("X-Forwarded-Scopes", "push"),
                                                Scope::push, kNow)),
            "403 missing_scope");
}

TEST(Authorization, RefusesPagesOfOtherOrigins) {
  Tokens tokens;
  Admission with_tokens(tokens.options);
  Admission open({});
  const std::string cookie = "waystation_token=" + Tokens::token("alice", "push admin");
  for (Admission* admission : {&with_tokens, &open}) {
    EXPECT_EQ(text(admission->snapshot().authorize(RequestBuilder::get("/")
                                                       .header("Cookie", cookie)
                                                       .header("Origin", "https://evil.example"),
                                                   Scope::push, kNow)),
              "403 bad_origin");
    EXPECT_EQ(text(admission->snapshot().authorize(
                  RequestBuilder::get("/").header("Cookie", cookie), Scope::push, kNow)),
              "200");
  }
  EXPECT_EQ(text(open.snapshot().authorize(
                RequestBuilder::get("/").header("Host", "rebound.example"), Scope::push, kNow)),
            "403 bad_host");
}

TEST(Operators, AreClientAddresses) {
  AdmissionOptions options;
  options.trusted_proxies = {"127.0.0.1"};
  Admission admission(options);
  EXPECT_TRUE(admission.snapshot().authorize_operator(RequestBuilder::get("/healthz")));
  EXPECT_TRUE(admission.snapshot().authorize_operator(RequestBuilder::get("/healthz").from("::1")));
  EXPECT_FALSE(
      admission.snapshot().authorize_operator(RequestBuilder::get("/healthz").from("203.0.113.9")));
  EXPECT_FALSE(admission.snapshot().authorize_operator(
      RequestBuilder::get("/healthz").header("X-Forwarded-For", "203.0.113.9")));
  EXPECT_FALSE(admission.snapshot().authorize_operator(
      RequestBuilder::get("/healthz").from("::1").header("X-Forwarded-For", "127.0.0.1")));
  EXPECT_FALSE(admission.snapshot().authorize_operator(
      RequestBuilder::get("/healthz").header("Origin", "https://evil.example")));
  EXPECT_FALSE(admission.snapshot().authorize_operator(
      RequestBuilder::get("/healthz").header("Host", "rebound.example")));
  EXPECT_EQ(
      text(admission.snapshot().authorize_operator(RequestBuilder::get("/").from("203.0.113.9"))),
      "403 not_an_operator");
}

// ---- options -----------------------------------------------------------------------------------

TEST(AdmissionOptions, AreRefusedWithALineThatNamesTheKey) {
  test::Folder folder;
  const std::string weak = folder.file("weak", "c2hvcnQ=");
  const std::string shared = folder.file("shared", test::base64(kSecret), 0644);
  struct Case {
    void (*change)(AdmissionOptions&, const std::string&);
    const char* problem;
    std::string argument;
  };
  for (const auto& [change, problem, argument] : {
           Case{[](auto&o, auto&) { o.trusted_proxies = {"10.0.0.1/8"}; },
                "trusted_proxies = \"10.0.0.1/8\": bits beyond the prefix", ""},
           Case{[](auto&o, auto&) {
                  o.trusted_proxies = {"::1", "::/0"};
                },
                "every address would be trusted", ""},
           Case{[](auto&o, auto&) { o.operators = {"localhost"}; },
                "operators = \"localhost\": neither", ""},
           Case{[](auto&o, auto&) { o.allowed_hosts = {"http://a"}; },
                "allowed_hosts = \"http://a\": not a host; allowed: ", ""},
           Case{[](auto&o, auto&) { o.allowed_origins = {"a.example"}; },
                "allowed_origins = \"a.example\": not an origin; allowed: ", ""},
           Case{[](auto&o, auto&) { o.auth = Auth::jwt; },
                "jwt_key_file = \"\": tokens need a file of keys", ""},
           Case{[](auto&o, auto&) { o.jwt_key_file = test::base64(kSecret); },
                "jwt_key_file = (withheld: it may be a key): no such file, or a key", ""},
           Case{[](auto&o, auto&path) {
                  o.auth = Auth::jwt;
                  o.jwt_key_file = path;
                },
                "at least 32 bytes", weak},
           Case{[](auto&o, auto&path) {
                  o.auth = Auth::jwt;
                  o.jwt_key_file = path;
                },
                "chmod 600", shared},
           Case{[](auto&o, auto&) {
                  o.trusted_proxies = {"0.0.0.0/1", "128.0.0.0/1"};
                },
                "every address would be trusted", ""},
           Case{[](auto&o, auto&) {
                  o = behind_proxy();
                  o.identity_header = "a b";
                },
                "identity_header = \"a b\"", ""},
           Case{[](auto&o, auto&) {
                  o = behind_proxy();
                  o.identity_header = "";
                },
                "identity_header = \"\"", ""},
           Case{[](auto&o, auto&) {
                  o = behind_proxy();
                  o.scopes_header = "a:";
                },
                "scopes_header = \"a:\"", ""},
           Case{[](auto&o, auto&path) { o.handover_key_file = path; },
                "its key has 8 bytes; allowed: a regular file that only", weak},
           Case{[](auto&o, auto&path) { o.handover_key_file = path; }, "its key has 257 bytes",
                folder.file("long", std::string(257, 'k') + "\n")},
           Case{[](auto&o, auto&path) { o.handover_key_file = path; }, "chmod 600", shared},
           Case{[](auto&o, auto&) { o.handover_key_file = "/no/such"; }, "it cannot be opened", ""},
           Case{[](auto&o, auto&) { o.handover_key_file = test::base64(kSecret); },
                "handover_key_file = (withheld: it may be a key): no such file, or a key", ""},
           Case{[](auto&o, auto&) { o.handover_key_file = "correct horse battery staple"; },
                "handover_key_file = (withheld: it may be a key): no such file, or a key", ""},
           Case{[](auto&o, auto&) { o.auth = Auth::callback; }, "needs the function identify", ""},
       }) {
    AdmissionOptions options;
    change(options, argument);
    std::string found = "none";
    try {
      Admission admission(options);
    } catch (const std::invalid_argument& error) {
      found = error.what();
    }
    EXPECT_THAT(found, HasSubstr(problem));
    EXPECT_THAT(found, Not(HasSubstr("\n")));
  }
}

TEST(AdmissionOptions, CanBeChangedWhileSocketsStayOpen) {
  Admission admission({});
  const Outcome held = admit(admission, RequestBuilder::upgrade("/push/alice/"));
  AdmissionOptions options;
  options.limits.max_connections_per_user = 1;
  options.allowed_origins = {"https://page.example"};
  EXPECT_TRUE(admission.reconfigure(options));
  EXPECT_EQ(outcome(admission, RequestBuilder::upgrade("/push/alice/")), "429 too_many");
  EXPECT_EQ(outcome(admission,
                    RequestBuilder::upgrade("/push/bob/").header("Origin", "https://page.example")),
            "admitted");

  options.operators = {"nonsense"};
  options.allowed_origins = {};
  options.limits.max_connections_per_user = 0;
  const auto changed = admission.reconfigure(options);
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().option, "operators");
  EXPECT_EQ(outcome(admission, RequestBuilder::upgrade("/push/alice/")), "429 too_many");
  EXPECT_EQ(outcome(admission,
                    RequestBuilder::upgrade("/push/bob/").header("Origin", "https://page.example")),
            "admitted");
}

TEST(AdmissionOptions, ProbableMistakesGiveWarnings) {
  const auto warnings = [](const AdmissionOptions& options) {
    std::vector<std::string> lines;
    for (const auto& warning : config_warnings(options)) {
      EXPECT_THAT(warning.message, StartsWith(warning.option + " = "));
      lines.push_back(warning.message);
    }
    return lines;
  };
  EXPECT_THAT(warnings({}), IsEmpty());
  EXPECT_THAT(warnings(open_network()), ElementsAre(HasSubstr("may be any user")));
  AdmissionOptions options;
  options.operators = {"0.0.0.0/0"};
  EXPECT_THAT(warnings(options), ElementsAre(HasSubstr("operators = \"0.0.0.0/0\": every")));
  options.operators = {"0.0.0.0/1", "128.0.0.0/1"};
  EXPECT_THAT(warnings(options), ElementsAre(HasSubstr("every address")));
  options = AdmissionOptions();
  options.trusted_proxies = {"10.0.0.0/8", "172.0.0.0/7", "fd00::/8", "2000::/3"};
  EXPECT_THAT(warnings(options), ElementsAre(HasSubstr("172.0.0.0/7"), HasSubstr("2000::/3")));
  options = AdmissionOptions();
  options.auth = Auth::header;
  EXPECT_THAT(warnings(options), ElementsAre(HasSubstr("only web servers that hand over")));
  options.trusted_proxies = {"192.0.2.1"};
  EXPECT_THAT(warnings(options), IsEmpty());
  options = AdmissionOptions();
  options.jwt_key_file = "/etc/keys";
  EXPECT_THAT(warnings(options), ElementsAre(HasSubstr("no effect")));
  options.auth = Auth::jwt;
  options.jwt_issuer = "me";
  EXPECT_THAT(warnings(options), IsEmpty());
  options.jwt_issuer = "";
  options.allow_query_token = true;
  options.allow_open_network = true;
  EXPECT_THAT(warnings(options), SizeIs(3));
}

/// The options may change during a request, here in `identify`. The response follows the options at
/// the start of the request, including its CORS header fields.
TEST(Admission, UsesOneSnapshotOfTheOptionsPerRequest) {
  Admission* self = nullptr;
  AdmissionOptions later;
  later.allowed_origins = {};
  AdmissionOptions options;
  options.auth = Auth::callback;
  options.allowed_origins = {"https://page.example"};
  options.identify = [&](const Request&) -> std::optional<Identity> {
    EXPECT_TRUE(self->reconfigure(later));
    return std::nullopt;
  };
  Admission admission(options);
  self = &admission;
  const Outcome found = admit(
      admission, RequestBuilder::upgrade("/push/bob/").header("Origin", "https://page.example"));
  EXPECT_EQ(found.text(), "401 unauthenticated");
  EXPECT_THAT(found.refusal().headers,
              Contains(Pair("Access-Control-Allow-Origin", "https://page.example")));
}

TEST(AdmissionOptions, AreListsSeparatedByCommas) {
  EXPECT_THAT(split_list(" a,b , ,c"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(split_list(""), IsEmpty());
}

TEST(Admission, ServesManyThreadsWhileItsOptionsChange) {
  Tokens tokens;
  // As many as threads: none is left over if each permit is released.
  tokens.options.limits.max_connections = 4;
  Admission admission(tokens.options);
  const std::string token = Tokens::token("alice", "push");
  std::atomic<int> admitted{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        const RequestBuilder request =
            RequestBuilder::upgrade("/push/alice/").header("Authorization", "Bearer " + token);
        if (outcome(admission, request) == "admitted") ++admitted;
        if (!admission.snapshot().authorize(request, Scope::push, kNow)) ADD_FAILURE();
      }
    });
  }
  for (int round = 0; round < 50; ++round) {
    EXPECT_TRUE(admission.reconfigure(tokens.options));
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(admitted, 800);
}

}  // namespace
}  // namespace waystation::test
