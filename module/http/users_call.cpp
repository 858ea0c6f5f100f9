#include "http/users_call.hpp"

#include <array>
#include <string>
#include <utility>

#include "base/cjson.hpp"
#include "http/query.hpp"

namespace waystation {
namespace {

constexpr std::size_t kDefaultUsers = 100;

/// The allowed parameters. The last one is the token of the caller.
constexpr std::array<std::string_view, 3> kParameters{"limit", "after", "access_token"};

void add(cJSON* object, const char* name, std::size_t number) {
  require(cJSON_AddNumberToObject(object, name, static_cast<double>(number)));
}

HttpResponse page_of(const UserPage& found) {
  const CJson page(require(cJSON_CreateObject()));
  cJSON* const users = require(cJSON_AddArrayToObject(page.get(), "users"));
  std::string last;
  for (const ListedUser& user : found.users) {
    last = user.name.view();
    cJSON* const object = require(cJSON_CreateObject());
    cJSON_AddItemToArray(users, object);
    require(cJSON_AddStringToObject(object, "user", last.c_str()));
    add(object, "push_sockets", user.push_sockets);
    add(object, "groups", user.groups);
    add(object, "nodes", user.nodes);
  }
  require(found.has_more ? cJSON_AddStringToObject(page.get(), "next", last.c_str())
                         : cJSON_AddNullToObject(page.get(), "next"));
  if (found.is_partial) require(cJSON_AddTrueToObject(page.get(), "partial"));
  return {200, "application/json", print(page), {}};
}

}  // namespace

Result<HttpResponse, Refusal> answer_users(RelayCalls& relay, std::string_view query) {
  try {
    refuse_unknown(query, kParameters);
    const auto limit = limit_of(query, kDefaultUsers, UserListing::kMaxLimit);
    auto page = relay.users(user_of(query, "after"), limit);
    if (!page) return refusal_of(std::move(page.error()));
    return page_of(*page);
  } catch (const BadQuery& bad) {
    return Refusal{RefusalCode::bad_query, bad.what()};
  }
}

}  // namespace waystation
