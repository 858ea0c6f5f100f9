#include "http/query.hpp"

#include <utility>

#include "relay/names.hpp"

namespace waystation {

std::string value_of(std::string_view query, std::string_view name) {
  Parameter parameter = query_parameter(query, name);
  switch (parameter.found) {
    case Parameter::Found::none:
      return {};
    case Parameter::Found::one:
      return std::move(parameter.value);
    case Parameter::Found::several:
      throw BadQuery(name, "given more than once; allowed is one value");
    default:
      throw BadQuery(name, kBadEscapes);
  }
}

std::size_t limit_of(std::string_view query, std::size_t fallback, std::size_t max) {
  auto limit = fallback;
  const std::string should = "1 to " + std::to_string(max);
  read_number(query, "limit", should, limit);
  if (limit == 0 || limit > max) throw BadQuery("limit", should);
  return limit;
}

std::string user_of(std::string_view query, std::string_view name) {
  std::string user = value_of(query, name);
  if (user.empty()) return user;
  if (const auto checked = check_user_id(name, user); !checked) throw BadQuery(checked.error());
  return user;
}

void refuse_unknown(std::string_view query, std::span<const std::string_view> known) {
  const auto name = unknown_parameter(query, known);
  if (!name) return;
  std::string names;
  for (const auto one : known.first(known.size() - 1)) {
    names += (names.empty() ? "" : ", ") + std::string(one);
  }
  throw BadQuery(in_quotes(*name), "no such parameter; allowed are " + names);
}

}  // namespace waystation
