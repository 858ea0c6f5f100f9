#include "http/missed_call.hpp"

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "http/query.hpp"

namespace waystation {
namespace {

// The last one is the token of the caller.
constexpr std::array<std::string_view, 3> kParameters{"since", "after", "access_token"};
constexpr std::array<std::string_view, 4> kOpenParameters{"user", "since", "after", "access_token"};

MissedQuestion question_of(std::string_view query) {
  MissedQuestion question;
  const std::string after = value_of(query, "after");
  const bool has_since = !value_of(query, "since").empty();
  if (has_since == !after.empty()) {
    throw BadQuery("since, after", has_since ? "both are given; send only one"
                                             : "one of the two is required; send either");
  }
  const std::string times = "a time in ms since 1970, from 0 to " + std::to_string(kMaxJsonInteger);
  read_number(query, "since", times, question.since);
  if (question.since < 0 || question.since > kMaxJsonInteger) throw BadQuery("since", times);
  if (has_since) return question;
  question.after = MissedCursor::parse(after);
  if (!question.after) throw BadQuery("after", "what an earlier answer gave as `next`");
  return question;
}

}  // namespace

Result<HttpResponse, Refusal> answer_missed(const AdmissionSnapshot& admission, RelayCalls& relay,
                                            const Request& request, std::string_view query,
                                            std::int64_t now_ms) {
  auto user = admission.authorize_user(request, now_ms);
  if (!user) return std::move(user.error());
  try {
    if (*user) {
      refuse_unknown(query, kParameters);
    } else {
      refuse_unknown(query, kOpenParameters);
      *user = user_of(query, "user");
      if ((*user)->empty()) throw BadQuery("user", "missing; name the user who is asking");
    }
    auto missed = relay.missed(**user, question_of(query));
    if (!missed) return refusal_of(std::move(missed.error()));
    return HttpResponse{200, "application/json", missed_text(*missed), {}};
  } catch (const BadQuery& bad) {
    return Refusal{RefusalCode::bad_query, bad.what()};
  }
}

}  // namespace waystation
