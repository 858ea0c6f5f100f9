#include "admission/token.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/admission/signing.hpp"

namespace waystation::test {
namespace {

using test::base64url;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::int64_t kNow = 1'700'000'000'000;
const std::string kSecret(32, 's');
const std::string kOtherSecret(32, 'o');
const std::string kClaims = R"({"sub":"alice","exp":1700000060})";

using Checked = Result<Identity, TokenProblem>;

std::shared_ptr<const KeyRing> ring(const std::string& text) {
  return *KeyRing::parse(text);
}
std::shared_ptr<const KeyRing> secret_ring() {
  return ring(test::base64(kSecret));
}

Checked check(const std::string& token, const TokenRules& rules = {}, std::int64_t now = kNow) {
  return verify_token(*secret_ring(), rules, token, now);
}

/// What is wrong with a token; "good" if it is valid.
std::string problem(const Checked& checked) {
  return checked ? "good" : checked.error().detail;
}

std::string hs256(std::string_view claims) {
  return test::hs256_token(kSecret, claims);
}

TEST(Token, NamesTheCallerAndTheirScopesAndExpiry) {
  const Checked checked = check(
      hs256(R"({"sub":"alice","exp":1700000060.5,"scope":"push other","iat":1,"x":{"y":[1]}})"));
  ASSERT_EQ(problem(checked), "good");
  const Identity& identity = *checked;
  EXPECT_EQ(identity.user, "alice");
  EXPECT_TRUE(identity.scopes.has(Scope::push));
  EXPECT_FALSE(identity.scopes.has(Scope::admin));
  EXPECT_EQ(identity.expires_at_ms, 1'700'000'060'500);
}

TEST(Token, MayBeSignedWithRs256AndEs256) {
  const auto ec = test::ec_key();
  const auto keys = ring(test::public_pem(test::rsa_key()) + test::public_pem(ec));
  EXPECT_EQ(
      problem(verify_token(
          *keys, {}, test::signed_token(test::rsa_key(), kClaims, R"({"alg":"RS256"})"), kNow)),
      "good");
  EXPECT_EQ(
      problem(verify_token(*keys, {}, test::signed_token(ec, kClaims, R"({"alg":"ES256"})"), kNow)),
      "good");
}

TEST(Token, MustBeSignedWithOneOfTheKeys) {
  const auto keys = ring(test::public_pem(test::rsa_key()) + test::public_pem(test::ec_key()) +
                         test::base64(kSecret));
  const auto other_ec = test::ec_key();
  for (const auto& token :
       {test::hs256_token(kOtherSecret, kClaims),
        test::signed_token(test::other_rsa_key(), kClaims, R"({"alg":"RS256"})"),
        test::signed_token(other_ec, kClaims, R"({"alg":"ES256"})")}) {
    EXPECT_THAT(problem(verify_token(*keys, {}, token, kNow)), HasSubstr("not signed"));
  }
}

TEST(Token, IsInvalidAfterAnyChange) {
  const std::string token = hs256(kClaims);
  ASSERT_EQ(problem(check(token)), "good");
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_NE(problem(check(changed)), "good") << i;
  }
}

TEST(Token, NeverChoosesItsAlgorithm) {
  const std::string public_pem = test::public_pem(test::rsa_key());
  const auto keys = ring(public_pem);
  const auto verify = [&](const std::string& token) {
    return problem(verify_token(*keys, {}, token, kNow));
  };
  // The public key is public: as an HMAC secret it would let everyone sign.
  for (const char* header : {R"({"alg":"HS256"})", R"({"alg":"RS256","alg":"HS256"})",
                             R"({"alg":"HS256","alg":"RS256"})",
                             R"({"alg":"RS256","\u0061lg":"HS256"})", R"({"alg":"hs256"})"}) {
    EXPECT_NE(verify(test::hs256_token(public_pem, kClaims, header)), "good") << header;
  }
  const std::string none = test::signing_input(R"({"alg":"none"})", kClaims);
  for (const std::string& token :
       {none + ".", none, none + "." + base64url("x"),
        test::signing_input(R"({"alg":"RS256","alg":"none"})", kClaims) + ".",
        test::signing_input(R"({"alg":"None"})", kClaims) + "."}) {
    EXPECT_NE(verify(token), "good") << token;
    EXPECT_NE(problem(check(token)), "good") << token;
  }
}

TEST(Token, IsRefusedWithAStrongerAlgorithmToo) {
  const std::string input = test::signing_input(R"({"alg":"HS512"})", kClaims);
  EXPECT_THAT(problem(check(input + "." + base64url(test::hmac(kSecret, input, EVP_sha512())))),
              HasSubstr("not signed"));
  // Verified with the algorithm that a repeated `alg` names.
  const std::string twice = test::signing_input(R"({"alg":"HS256","alg":"HS512"})", kClaims);
  EXPECT_NE(problem(check(twice + "." + base64url(test::hmac(kSecret, twice, EVP_sha512())))),
            "good");
}

TEST(Token, IsRefusedIfItsHeaderIsAmbiguous) {
  for (const char* header : {R"({"alg":"HS256","alg":"HS256"})", R"({"alg":"HS256","x":1,"x":2})",
                             R"({"alg":"hs256"})"}) {
    EXPECT_NE(problem(check(test::hs256_token(kSecret, kClaims, header))), "good") << header;
  }
  EXPECT_EQ(problem(check(test::hs256_token(kSecret, kClaims, R"({"alg":"HS256","x":1})"))),
            "good");
}

TEST(Token, IsCheckedWithTheKeyItNames) {
  const auto keys = ring("new:" + test::base64(kSecret) + "\nold:" + test::base64(kOtherSecret) +
                         "\n" + test::base64(std::string(32, 'n')));
  const auto verify = [&](const std::string& secret, const char* header) {
    return problem(verify_token(*keys, {}, test::hs256_token(secret, kClaims, header), kNow));
  };
  const std::string nameless(32, 'n');
  EXPECT_EQ(verify(kSecret, R"({"alg":"HS256","kid":"new"})"), "good");
  EXPECT_EQ(verify(kOtherSecret, R"({"alg":"HS256","kid":"old"})"), "good");
  EXPECT_NE(verify(kOtherSecret, R"({"alg":"HS256","kid":"new"})"), "good");
  EXPECT_NE(verify(nameless, R"({"alg":"HS256","kid":"new"})"), "good");
  // Without `kid`, or with an unknown one: each key in turn.
  for (const std::string& secret : {kSecret, kOtherSecret, nameless}) {
    EXPECT_EQ(verify(secret, R"({"alg":"HS256"})"), "good");
  }
  EXPECT_EQ(verify(nameless, R"({"alg":"HS256","kid":"unheard of"})"), "good");
  EXPECT_EQ(verify(nameless, R"({"alg":"HS256","kid":""})"), "good");
  EXPECT_NE(verify(kSecret, R"({"alg":"HS256","kid":"unheard of"})"), "good");
  EXPECT_NE(verify(kSecret, R"({"alg":"HS256","kid":7})"), "good");
}

TEST(Token, IsRefusedIfAParserWouldTruncateAText) {
  for (const char* claims : {R"({"sub":"alice\u0000x","exp":1700000060})",
                             R"({"sub":"alice","exp":1700000060,"scope":"push\u0000x"})",
                             R"({"sub":"alice","exp":1700000060,"\u0000":1})"}) {
    EXPECT_NE(problem(check(hs256(claims))), "good") << claims;
  }
}

TEST(Token, MustExpire) {
  for (const char* claims :
       {R"({"sub":"alice"})", R"({"sub":"alice","exp":null})",
        R"({"sub":"alice","exp":"1800000000"})", R"({"sub":"alice","exp":true})"}) {
    EXPECT_THAT(problem(check(hs256(claims))), HasSubstr("exp is missing or not a number"))
        << claims;
  }
  EXPECT_THAT(problem(check(hs256(R"({"sub":"alice","EXP":1800000000})"))),
              HasSubstr("exp is missing or not a number"));
}

TEST(Token, IsValidUntilItsExpiryAndNotAMillisecondLonger) {
  const std::string token = hs256(kClaims);
  EXPECT_EQ(problem(check(token, {}, 1'700'000'059'999)), "good");
  EXPECT_THAT(problem(check(token, {}, 1'700'000'060'000)), HasSubstr("expired"));
  EXPECT_THAT(problem(check(hs256(R"({"sub":"alice","exp":-1})"))), HasSubstr("expired"));
  EXPECT_THAT(problem(check(hs256(R"({"sub":"alice","exp":0})"))), HasSubstr("expired"));
}

TEST(Token, MayExpireInTheFarFuture) {
  const Checked checked = check(hs256(R"({"sub":"alice","exp":253402300799})"));
  ASSERT_EQ(problem(checked), "good");
  EXPECT_EQ(checked->expires_at_ms, 253'402'300'799'000);
}

TEST(Token, ExpiresInSecondsRatherThanMilliseconds) {
  for (const char* exp : {"1700000060000", "253402300799.5", "1e300", "9223372036854775807"}) {
    EXPECT_THAT(problem(check(hs256(std::string(R"({"sub":"alice","exp":)") + exp + "}"))),
                HasSubstr("exp is after the year 9999; it must be in seconds since 1970"))
        << exp;
  }
}

TEST(Token, IsNotValidBeforeItsTime) {
  const auto with = [](const char* nbf) {
    return hs256(std::string(R"({"sub":"alice","exp":1700000060,"nbf":)") + nbf + "}");
  };
  EXPECT_EQ(problem(check(with("1700000000"))), "good");
  EXPECT_THAT(problem(check(with("1700000000.001"))), HasSubstr("nbf"));
  EXPECT_THAT(problem(check(with("1700000001"))), HasSubstr("nbf"));
  EXPECT_THAT(problem(check(with("1e300"))), HasSubstr("nbf"));
  EXPECT_THAT(problem(check(with("\"soon\""))), HasSubstr("nbf"));
}

TEST(Token, MustComeFromTheIssuer) {
  const TokenRules rules{"https://id.example", {}};
  const auto with = [](const char* iss) {
    return hs256(std::string(R"({"sub":"alice","exp":1700000060,"iss":)") + iss + "}");
  };
  EXPECT_EQ(problem(check(with("\"https://id.example\""), rules)), "good");
  for (const char* iss : {"\"https://id.example/\"", "\"\"", "null", "[\"https://id.example\"]"}) {
    EXPECT_THAT(problem(check(with(iss), rules)), HasSubstr("iss")) << iss;
  }
  EXPECT_THAT(problem(check(hs256(kClaims), rules)), HasSubstr("iss"));
}

TEST(Token, MustBeForOneOfTheAudiences) {
  const TokenRules rules{"", {"chat", "relay"}};
  const auto with = [](const char* aud) {
    return hs256(std::string(R"({"sub":"alice","exp":1700000060,"aud":)") + aud + "}");
  };
  for (const char* aud : {"\"chat\"", "\"relay\"", "[\"other\",\"relay\"]", "[1,\"chat\"]"}) {
    EXPECT_EQ(problem(check(with(aud), rules)), "good") << aud;
  }
  for (const char* aud :
       {"\"other\"", "[]", "[\"other\"]", "{\"chat\":1}", "null", "\"Chat\"", "[[\"chat\"]]"}) {
    EXPECT_THAT(problem(check(with(aud), rules)), HasSubstr("aud")) << aud;
  }
  EXPECT_THAT(problem(check(hs256(kClaims), rules)), HasSubstr("aud"));
}

TEST(Token, MayHaveNoSubject) {
  for (const char* sub : {"", R"("sub":7,)", R"("sub":null,)", R"("sub":["alice"],)"}) {
    const Checked checked =
        check(hs256(std::string("{") + sub + R"("exp":1700000060,"scope":"push"})"));
    ASSERT_EQ(problem(checked), "good") << sub;
    EXPECT_FALSE(checked->user);
    EXPECT_TRUE(checked->scopes.has(Scope::push));
  }
}

TEST(Token, IsNotTruncatedAtAZeroByte) {
  EXPECT_NE(problem(check(hs256(R"({"sub":"alice\u0000x","exp":1700000060})"))), "good");
}

TEST(Token, IsRefusedWithCriticalExtensions) {
  EXPECT_THAT(problem(check(test::hs256_token(kSecret, kClaims,
                                              R"({"alg":"HS256","crit":["b64"],"b64":true})"))),
              HasSubstr("crit"));
}

TEST(Token, HasThreePartsOfBase64UrlThatAreJson) {
  const std::string good = hs256(kClaims);
  const std::string header = base64url(R"({"alg":"HS256"})");
  const std::string input = header + "." + base64url("[1]");
  const std::string broken = header + "." + base64url("{");
  for (const std::string& token :
       {std::string(), std::string("."), std::string(".."), std::string("..."), good + ".",
        "." + good, good + " ", " " + good, good + "\n", std::string("Bearer ") + good,
        good.substr(0, good.rfind('.')), std::string(good).replace(3, 1, "="),
        std::string(good).replace(3, 1, "+"), input + "." + base64url(test::hmac(kSecret, input)),
        broken + "." + base64url(test::hmac(kSecret, broken)), base64url("[]") + ".e30.e30",
        base64url("{}") + ".e30.e30", base64url(R"({"alg":"HS256"}x)") + ".e30.e30",
        base64url(R"({"alg":7})") + ".e30.e30"}) {
    EXPECT_NE(problem(check(token)), "good") << token;
  }
  EXPECT_NE(problem(check(std::string(good).insert(5, 1, '\0'))), "good");
}

TEST(Token, MayNest16LevelsDeep) {
  const std::string header = R"({"alg":"HS256"})";
  const auto verify = [](std::string_view claims, std::string_view header_text) {
    return problem(check(test::hs256_token(kSecret, claims, header_text)));
  };
  for (const auto& [open, close] : {std::pair("[", "]"), std::pair("{\"y\":", "}")}) {
    const auto nested = [open, close](const std::string& object, std::size_t levels) {
      return test::with_nested(object, levels, open, close);
    };
    EXPECT_EQ(verify(nested(kClaims, 15), header), "good");
    EXPECT_THAT(verify(nested(kClaims, 16), header), HasSubstr("at most 16 levels"));
    EXPECT_EQ(verify(kClaims, nested(header, 15)), "good");
    EXPECT_THAT(verify(kClaims, nested(header, 16)), HasSubstr("at most 16 levels"));
  }
}

// The parsers of libjwt and cJSON recurse, and these tests run on a small stack.
TEST(Token, IsRefusedHoweverDeeplyItNests) {
  const std::string header = R"({"alg":"HS256"})";
  constexpr std::string_view kObject = "{\"\":";
  for (const std::size_t levels : {17UL, 500UL, 900UL, 1100UL, 2048UL, 2900UL}) {
    const auto deep = [levels](const std::string& object) {
      return levels > 1100 ? test::with_nested(object, levels)
                           : test::with_nested(object, levels, kObject, "}");
    };
    const std::string signed_claims = hs256(deep(kClaims));
    ASSERT_LE(signed_claims.size(), kMaxTokenBytes);
    EXPECT_THAT(problem(check(signed_claims)), HasSubstr("at most 16 levels"));
    for (const std::string& token : {
             signed_claims,
             test::hs256_token(kSecret, kClaims, deep(header)),
             test::signing_input(deep(header), kClaims) + ".",
             test::signing_input(deep(R"({"alg":"none"})"), kClaims) + ".",
             test::signing_input(deep(R"({"alg":7})"), kClaims) + ".eA",
             test::signing_input(header, deep(kClaims)) + ".",
             test::signing_input(deep(header), deep(kClaims).substr(0, 100)) + ".eA",
         }) {
      EXPECT_NE(problem(check(token)), "good") << token;
    }
  }
  // Parsers recurse before they find a mistake, too.
  for (const std::string& text : {std::string(5900, '['), std::string(2900, '[') + "]",
                                  R"({"a":)" + std::string(5800, '[') + "}"}) {
    EXPECT_NE(problem(check(hs256(text))), "good") << text;
    EXPECT_NE(problem(check(test::hs256_token(kSecret, kClaims, text))), "good") << text;
  }
}

TEST(Token, HidesNoLevelsAfterStringsAndEscapes) {
  const std::string deep = std::string(1000, '[') + std::string(1000, ']');
  const auto with = [](const std::string& members) {
    return problem(check(hs256(R"({"sub":"alice","exp":1700000060,)" + members + "}")));
  };
  // Brackets in strings do not count as levels.
  EXPECT_EQ(with(R"("x":")" + std::string(3000, '[') + "\""), "good");
  EXPECT_EQ(with(R"("x":"\"[[[[[[[[[[[[[[[[[[[[","y":"{{{{{{{{{{{{{{{{{{")"), "good");
  // Brackets after the end of a string count, whatever its last character is.
  for (const char* before : {R"("x":"\\","y":)", R"("x":"]]]]]]","y":)", R"("x\"":)",
                             R"("x":"\u0022","y":)", R"("sub":"alice","sub":)"}) {
    EXPECT_NE(with(before + deep), "good") << before;
  }
}

TEST(Token, IsRefusedIfDecodersDisagree) {
  const auto verify = [](const std::string& header, const std::string& claims) {
    const std::string input = header + "." + claims;
    return problem(check(input + "." + base64url(test::hmac(kSecret, input))));
  };
  const auto encoded = [](std::string text, std::size_t remainder) {
    while (text.size() % 3 != remainder) text.insert(1, 1, ' ');
    return base64url(text);
  };
  const auto last_bit_set = [](std::string text) {
    ++text.back();
    return text;
  };
  const std::string header = R"({"alg":"HS256"})";
  for (const std::size_t remainder : {1U, 2U}) {  // bits are left over in the last character
    const std::string first = encoded(header, remainder);
    const std::string second = encoded(kClaims, remainder);
    EXPECT_EQ(verify(first, second), "good");
    EXPECT_NE(verify(last_bit_set(first), second), "good") << remainder;
    EXPECT_NE(verify(first, last_bit_set(second)), "good") << remainder;
  }
  // A last character that does not complete a byte.
  EXPECT_NE(verify(encoded(header, 0) + "A", encoded(kClaims, 0)), "good");
  EXPECT_NE(verify(encoded(header, 0), encoded(kClaims, 0) + "A"), "good");
  // Texts that a parser could end at a zero byte, or at the end of the object.
  const std::string deep = std::string(1000, '[');
  for (const std::string& tail : {std::string(1, '\0'), '\0' + deep, deep, std::string("{}")}) {
    EXPECT_NE(problem(check(hs256(kClaims + tail))), "good") << tail;
    EXPECT_NE(problem(check(test::hs256_token(kSecret, kClaims, R"({"alg":"HS256"})" + tail))),
              "good")
        << tail;
  }
}

TEST(Token, IsRefusedUnreadIfTooLong) {
  const auto with_padding = [](std::size_t size) {
    return hs256(R"({"sub":"alice","exp":1700000060,"x":")" + std::string(size, 'x') + "\"}");
  };
  EXPECT_EQ(problem(check(with_padding(5000))), "good");
  EXPECT_EQ(problem(check(with_padding(7000))),
            "token: longer than 8192 bytes; at most 8192 are allowed");
}

TEST(IssuedToken, IsAccepted) {
  const auto ec = test::ec_key();
  for (const std::string& text :
       {test::base64(kSecret), "k1:" + test::base64(kSecret), test::private_pem(test::rsa_key()),
        "k2:\n" + test::traditional_pem(ec),
        test::public_pem(test::other_rsa_key()) + "k3:\n" + test::private_pem(ec)}) {
    const auto keys = ring(text);
    TokenRequest request;
    request.user = "alice";
    request.scope = "push admin";
    request.issued_at_ms = kNow;
    request.lifetime_seconds = 60;
    request.issuer = "https://id.example";
    request.audiences = {"chat", "relay"};
    const auto issued = issue_token(*keys, request);
    ASSERT_TRUE(issued) << issued.error();
    const Checked checked =
        verify_token(*keys, {"https://id.example", {"relay"}}, issued->token, kNow);
    ASSERT_EQ(problem(checked), "good");
    const Identity& identity = *checked;
    EXPECT_EQ(identity.user, "alice");
    EXPECT_TRUE(identity.scopes.has(Scope::push));
    EXPECT_TRUE(identity.scopes.has(Scope::admin));
    EXPECT_EQ(identity.expires_at_ms, kNow + 60'000);
  }
}

TEST(IssuedToken, IsSignedWithTheRequestedKey) {
  const auto keys = ring("old:" + test::base64(kOtherSecret) + "\nnew:" + test::base64(kSecret));
  TokenRequest request;
  request.user = "alice";
  request.issued_at_ms = kNow;
  request.key_id = "new";
  const auto issued = issue_token(*keys, request);
  ASSERT_TRUE(issued);
  EXPECT_EQ(problem(verify_token(*secret_ring(), {}, issued->token, kNow)), "good");
}

TEST(IssuedToken, IsShortEnoughToBeAccepted) {
  const auto keys = secret_ring();
  TokenRequest request;
  request.user = "alice";
  request.issued_at_ms = kNow;
  request.lifetime_seconds = 60;
  std::size_t longest = 0;  // of the audiences for which a token is issued
  for (std::size_t size = 5500; size < 6500; ++size) {
    request.audiences = {std::string(size, 'a')};
    const auto issued = issue_token(*keys, request);
    if (!issued) {
      EXPECT_THAT(issued.error(), AllOf(HasSubstr("; at most 8192 are allowed"),
                                        HasSubstr("jwt_audience"), HasSubstr("jwt_issuer")));
      break;
    }
    ASSERT_EQ(problem(verify_token(*keys, {{}, request.audiences}, issued->token, kNow)), "good")
        << size;
    longest = issued->token.size();
  }
  EXPECT_GT(longest, 8188U);
  EXPECT_LE(longest, 8192U);
}

TEST(IssuedToken, NeedsAUserALifetimeAndAKey) {
  const auto why_not = [](const KeyRing& keys, const TokenRequest& request) {
    const auto issued = issue_token(keys, request);
    return issued ? "issued" : issued.error();
  };
  TokenRequest request;
  request.user = "Alice";
  EXPECT_THAT(why_not(*secret_ring(), request), HasSubstr("0-9 and a-z"));
  request.user = "alice";
  request.lifetime_seconds = 0;
  EXPECT_THAT(why_not(*secret_ring(), request), HasSubstr("at least a second"));
  request.lifetime_seconds = 400'000'000'000;
  EXPECT_THAT(why_not(*secret_ring(), request), HasSubstr("before the year 10000"));
  request.lifetime_seconds = 1;
  request.key_id = "other";
  EXPECT_THAT(why_not(*secret_ring(), request), HasSubstr("no key with the id other"));
  request.key_id = "";
  EXPECT_THAT(why_not(*ring(test::public_pem(test::rsa_key())), request),
              HasSubstr("public keys only check"));
}

}  // namespace
}  // namespace waystation::test
