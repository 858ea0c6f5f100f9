#include "admission/token.hpp"

#include <jwt.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>

#include "base/base64.hpp"
#include "base/cjson.hpp"
#include "base/error.hpp"
#include "relay/json_scanner.hpp"
#include "relay/names.hpp"

namespace waystation {
namespace {

struct JwtFree {
  void operator()(jwt_t* token) const noexcept { jwt_free(token); }
};
struct JwtTextFree {  // libjwt's texts are malloc's
  void operator()(char* text) const noexcept {
    std::free(text);  // NOLINT(cppcoreguidelines-owning-memory): this is the owner
  }
};
using Jwt = std::unique_ptr<jwt_t, JwtFree>;
using JwtText = std::unique_ptr<char, JwtTextFree>;

constexpr std::string_view kNotAToken = "the token is not a JSON Web Token";
constexpr std::string_view kTooDeep =
    "token: header or claims nest too deeply; at most 16 levels of arrays and objects are allowed";
static_assert(kMaxTokenLevels == 16, "kTooDeep says so");
constexpr std::string_view kTooLong = "token: longer than 8192 bytes; at most 8192 are allowed";
static_assert(kMaxTokenBytes == 8192, "kTooLong says so");

jwt_alg_t jwt_algorithm(Algorithm algorithm) noexcept {
  switch (algorithm) {
    case Algorithm::hs256:
      return JWT_ALG_HS256;
    case Algorithm::rs256:
      return JWT_ALG_RS256;
    default:
      return JWT_ALG_ES256;
  }
}

const unsigned char* bytes(const std::string& text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}

/// Whether cJSON and jansson may parse a text. Both recurse per level, on the stack of a thread of
/// the host application. is_json() also excludes zero bytes, at which they would stop.
bool is_parsable(std::string_view text) noexcept {
  return is_json(text, kMaxTokenLevels);
}

/// Whether the first mistake in a text that is not parsable is its depth: with one more level
/// allowed, the scanner gets further.
bool is_too_deep(std::string_view text) noexcept {
  const auto mistake_at = [text](std::size_t levels) {
    JsonScanner scanner(text);
    std::string_view value;
    (void)(scanner.value(&value, kMaxJsonLevels - levels) && scanner.end());
    return scanner.position();
  };
  return mistake_at(kMaxTokenLevels) != mistake_at(kMaxTokenLevels + 1);
}

/// Parses a whole text as one JSON object. Null if it is anything else, or not parsable.
CJson parse_object(std::string_view text) {
  if (!is_parsable(text)) return nullptr;
  const char* end = nullptr;
  CJson json(cJSON_ParseWithLengthOpts(text.data(), text.size(), &end, 0));
  if (!json || end != text.data() + text.size() || !cJSON_IsObject(json.get())) return nullptr;
  return json;
}

const cJSON* member(const cJSON* object, const char* name) noexcept {
  return cJSON_GetObjectItemCaseSensitive(object, name);
}

std::optional<std::string_view> string_value(const cJSON* item) noexcept {
  if (!cJSON_IsString(item)) return std::nullopt;
  return std::string_view(item->valuestring);
}

/// Whether an object has a repeated name. Parsers disagree about which of the values counts.
bool has_duplicates(const cJSON* object) {
  std::vector<std::string_view> names;
  for (const cJSON* item = object->child; item != nullptr; item = item->next) {
    names.emplace_back(item->string);
  }
  std::ranges::sort(names);
  return std::ranges::adjacent_find(names) != names.end();
}

/// The JSON text of a token's header or claims, or what is wrong with it.
///
/// libjwt decodes the token again, and gets the same bytes. is_token_text() allows no character
/// that its decoder skips or stops at. decode_base64() refuses lengths and trailing bits that
/// decoders treat differently.
struct Segment {
  std::string json;
  std::string_view problem;  // empty: none
};

Segment decode_segment(std::string_view encoded) {
  auto decoded = decode_base64(encoded);
  if (!decoded) return {"", kNotAToken};
  if (is_parsable(*decoded)) return {std::move(*decoded), ""};
  return {"", is_too_deep(*decoded) ? kTooDeep : kNotAToken};
}

/// The header of a token.
struct Header {
  std::string algorithm;
  std::optional<std::string> key_id;
};

Result<Header, std::string_view> parse_header(std::string_view segment) {
  const CJson json = parse_object(segment);
  if (!json || has_duplicates(json.get())) return kNotAToken;
  const auto algorithm = string_value(member(json.get(), "alg"));
  if (!algorithm) return kNotAToken;
  // Extensions that must be understood (RFC 7515, section 4.1.11). None is supported.
  if (member(json.get(), "crit") != nullptr) {
    return "the token has critical extensions (crit), which are not understood here";
  }
  Header header{std::string(*algorithm), std::nullopt};
  const cJSON* key_id = member(json.get(), "kid");
  if (key_id != nullptr) {
    const auto text = string_value(key_id);
    if (!text) return kNotAToken;
    header.key_id = *text;
  }
  return header;
}

/// The claims, if `key` verifies the token with the algorithm of the key. Both segments have passed
/// decode_segment().
CJson claims_if_signed(const std::string& token, const Key& key) {
  jwt_t* raw = nullptr;
  const int problem =
      jwt_decode(&raw, token.c_str(), bytes(key.verify), static_cast<int>(key.verify.size()));
  const Jwt jwt(raw);
  ERR_clear_error();
  // The algorithm that libjwt verified with, rather than the one parsed from the header.
  if (problem != 0 || jwt_get_alg(jwt.get()) != jwt_algorithm(key.algorithm)) return nullptr;
  const JwtText json(jwt_get_grants_json(jwt.get(), nullptr));
  return json ? parse_object(json.get()) : nullptr;
}

constexpr double kLastDate = 253402300799.0;  // the end of the year 9999, in seconds since 1970

/// A NumericDate in ms since 1970 (RFC 7519, section 2). Limited to the years 1970 to 9999.
std::optional<std::int64_t> date_of(const cJSON* item) noexcept {
  if (!cJSON_IsNumber(item) || !std::isfinite(item->valuedouble)) return std::nullopt;
  return static_cast<std::int64_t>(
      std::floor(std::clamp(item->valuedouble, 0.0, kLastDate) * 1000));
}

bool is_for(const cJSON* audience, const std::vector<std::string>& wanted) {
  const auto is_wanted = [&](const cJSON* item) {
    const auto text = string_value(item);
    return text && std::ranges::find(wanted, *text) != wanted.end();
  };
  if (!cJSON_IsArray(audience)) return is_wanted(audience);
  for (const cJSON* item = audience->child; item != nullptr; item = item->next) {
    if (is_wanted(item)) return true;
  }
  return false;
}

Result<Identity, TokenProblem> read_claims(const cJSON* claims, const TokenRules& rules,
                                           std::int64_t now_ms) {
  const cJSON* exp = member(claims, "exp");
  const auto expires = date_of(exp);
  if (!expires) return TokenProblem{"the token's exp is missing or not a number"};
  // A time in milliseconds, the usual mistake, would make a token that does not expire.
  if (exp->valuedouble > kLastDate) {
    return TokenProblem{"the token's exp is after the year 9999; it must be in seconds since 1970"};
  }
  if (now_ms >= *expires) return TokenProblem{"the token has expired"};
  if (const cJSON* from = member(claims, "nbf")) {
    const auto not_before = date_of(from);
    if (!not_before || now_ms < *not_before) {
      return TokenProblem{"the token is not valid yet (nbf)"};
    }
  }
  if (!rules.issuer.empty() && string_value(member(claims, "iss")) != rules.issuer) {
    return TokenProblem{"the token is from another issuer (iss)"};
  }
  if (!rules.audiences.empty() && !is_for(member(claims, "aud"), rules.audiences)) {
    return TokenProblem{"the token is for another audience (aud)"};
  }
  Identity identity;
  if (const auto subject = string_value(member(claims, "sub"))) identity.user = *subject;
  if (const auto scope = string_value(member(claims, "scope")))
    identity.scopes = Scopes::parse(*scope);
  identity.expires_at_ms = *expires;
  return identity;
}

bool is_token_text(std::string_view token) noexcept {
  return std::ranges::count(token, '.') == 2 && std::ranges::all_of(token, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                  c == '-' || c == '_' || c == '.';
         });
}

}  // namespace

Result<Identity, TokenProblem> verify_token(const KeyRing& keys, const TokenRules& rules,
                                            std::string_view token, std::int64_t now_ms) {
  if (token.size() > kMaxTokenBytes) return TokenProblem{std::string(kTooLong)};
  if (!is_token_text(token)) return TokenProblem{std::string(kNotAToken)};
  const std::size_t dot = token.find('.');
  const Segment header_segment = decode_segment(token.substr(0, dot));
  const Segment claims_segment = decode_segment(token.substr(dot + 1, token.rfind('.') - dot - 1));
  for (const Segment* segment : {&header_segment, &claims_segment}) {
    if (!segment->problem.empty()) return TokenProblem{std::string(segment->problem)};
  }
  const auto header = parse_header(header_segment.json);
  if (!header) return TokenProblem{std::string(header.error())};
  const bool is_id_known = header->key_id && std::ranges::any_of(keys.keys(), [&](const Key& key) {
                             return !key.id.empty() && key.id == *header->key_id;
                           });
  const std::string terminated(token);
  std::string tried;  // ids of the keys that did not verify it
  for (const Key& key : keys.keys()) {
    // A token with `kid` is checked with that key or, if there is no such key, with the keys
    // without an id. A token without `kid` is checked with all keys.
    if (header->key_id && key.id != (is_id_known ? *header->key_id : std::string())) continue;
    if (algorithm_name(key.algorithm) != header->algorithm) continue;
    if (const CJson claims = claims_if_signed(terminated, key)) {
      return read_claims(claims.get(), rules, now_ms);
    }
    tried += (tried.empty() ? "" : ", ") + (key.id.empty() ? "without id" : in_quotes(key.id));
  }
  return TokenProblem{"the token is not signed with a key that is accepted here",
                      "kid " + (header->key_id ? in_quotes(*header->key_id) : "missing") +
                          ", alg " + in_quotes(header->algorithm) + ", " +
                          (tried.empty() ? "no key of jwt_key_file fits" : "keys tried: " + tried)};
}

Result<IssuedToken, std::string> issue_token(const KeyRing& keys, const TokenRequest& request) {
  if (!is_user_id(request.user)) return "a user is " WAYSTATION_USER_ID_RULE;
  if (request.lifetime_seconds < 1) return "a token must live for at least a second";
  const auto key = std::ranges::find_if(keys.keys(), [&](const Key& candidate) {
    return !candidate.sign.empty() && (request.key_id.empty() || candidate.id == request.key_id);
  });
  if (key == keys.keys().end()) {
    return request.key_id.empty()
               ? std::string("no key of the file can sign: public keys only check")
               : "no key with the id " + request.key_id + " can sign";
  }

  const CJson claims(cJSON_CreateObject());
  cJSON* object = claims.get();
  const std::int64_t now_seconds = request.issued_at_ms / 1000;
  const auto issued_at = static_cast<double>(now_seconds);
  const auto expires_at = issued_at + static_cast<double>(request.lifetime_seconds);
  if (expires_at > kLastDate) return "a token must expire before the year 10000";
  bool is_done = cJSON_AddStringToObject(object, "sub", request.user.c_str()) != nullptr &&
                 cJSON_AddNumberToObject(object, "iat", issued_at) != nullptr &&
                 cJSON_AddNumberToObject(object, "exp", expires_at) != nullptr;
  if (!request.scope.empty()) {
    is_done &= cJSON_AddStringToObject(object, "scope", request.scope.c_str()) != nullptr;
  }
  if (!request.issuer.empty()) {
    is_done &= cJSON_AddStringToObject(object, "iss", request.issuer.c_str()) != nullptr;
  }
  if (request.audiences.size() == 1) {
    is_done &= cJSON_AddStringToObject(object, "aud", request.audiences[0].c_str()) != nullptr;
  } else if (!request.audiences.empty()) {
    cJSON* list = cJSON_AddArrayToObject(object, "aud");
    for (const std::string& audience : request.audiences) {
      is_done &= cJSON_AddItemToArray(list, cJSON_CreateString(audience.c_str())) != 0;
    }
  }
  const CJsonText json(is_done ? cJSON_PrintUnformatted(object) : nullptr);

  jwt_t* raw = nullptr;
  is_done = json != nullptr && jwt_new(&raw) == 0;
  const Jwt jwt(raw);
  if (!is_done) throw std::bad_alloc();
  is_done = jwt_add_grants_json(raw, json.get()) == 0 &&
            (key->id.empty() || jwt_add_header(raw, "kid", key->id.c_str()) == 0) &&
            jwt_set_alg(raw, jwt_algorithm(key->algorithm), bytes(key->sign),
                        static_cast<int>(key->sign.size())) == 0;
  const JwtText token(is_done ? jwt_encode_str(raw) : nullptr);
  ERR_clear_error();
  if (!token) return "the token cannot be signed with this key";
  IssuedToken issued{token.get()};
  if (issued.token.size() > kMaxTokenBytes) {
    return "token: " + std::to_string(issued.token.size()) +
           " bytes with jwt_audience and jwt_issuer; at most " + std::to_string(kMaxTokenBytes) +
           " are allowed";
  }
  return issued;
}

}  // namespace waystation
