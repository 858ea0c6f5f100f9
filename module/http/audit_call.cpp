#include "http/audit_call.hpp"

#include <array>
#include <string>

#include "base/cjson.hpp"
#include "http/query.hpp"

namespace waystation {
namespace {

constexpr std::size_t kDefaultRows = 100;
constexpr std::size_t kMaxRows = 1000;

/// The allowed parameters. The last one is the token of the caller.
constexpr std::array<std::string_view, 10> kParameters{
    "since", "until", "user", "from", "to", "outcome", "order", "limit", "after", "access_token"};

AuditFilter filter_of(std::string_view query) {
  AuditFilter filter;
  read_number(query, "since", "a time in ms since 1970", filter.since);
  read_number(query, "until", "a time in ms since 1970", filter.until);
  filter.user = user_of(query, "user");
  filter.from = user_of(query, "from");
  filter.to = user_of(query, "to");
  for (const auto& outcomes : query_values(query, "outcome")) {
    if (!outcomes) throw BadQuery("outcome", kBadEscapes);
    for (std::string_view rest = *outcomes; !rest.empty();) {
      const auto comma = std::min(rest.find(','), rest.size());
      const auto outcome = parse_audit_outcome(rest.substr(0, comma));
      if (!outcome) {
        throw BadQuery("outcome",
                       "pushed, undelivered, dropped or gap; several with commas, or "
                       "as repeated parameters");
      }
      filter.add(*outcome);
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return filter;
}

AuditOrder order_of(std::string_view query) {
  const std::string order = value_of(query, "order");
  if (order.empty() || order == "oldest") return AuditOrder::oldest;
  if (order == "newest") return AuditOrder::newest;
  throw BadQuery("order", "oldest or newest");
}

// ---- JSON

void add(cJSON* object, const char* name, const std::string& text) {
  require(text.empty() ? cJSON_AddNullToObject(object, name)
                       : cJSON_AddStringToObject(object, name, text.c_str()));
}

template <typename T>
void add_number(cJSON* object, const char* name, T number) {
  require(cJSON_AddNumberToObject(object, name, static_cast<double>(number)));
}

void add_row(cJSON* rows, const AuditRow& row) {
  cJSON* const object = require(cJSON_CreateObject());
  cJSON_AddItemToArray(rows, object);
  add_number(object, "id", row.id);
  add_number(object, "at", row.at);
  add(object, "node", row.node);
  add(object, "group", row.group);
  add(object, "from", row.from);
  add(object, "to", row.to);
  add(object, "outcome", std::string(outcome_name(row.outcome)));
  const bool is_gap = row.outcome == AuditOutcome::gap;
  for (const auto& [name, number] : {std::pair{"reached", row.reached}, {"bytes", row.bytes}}) {
    if (is_gap) {
      require(cJSON_AddNullToObject(object, name));
    } else {
      add_number(object, name, number);
    }
  }
  add(object, "message_id", row.message_id);
  if (!is_gap) return;
  if (row.lost) {
    add_number(object, "lost", *row.lost);
  } else {
    require(cJSON_AddNullToObject(object, "lost"));
  }
  add_number(object, "lost_until", row.lost_until);
}

HttpResponse page_of(std::vector<AuditRow> found, std::size_t limit, AuditOrder order) {
  const CJson page(require(cJSON_CreateObject()));
  // One row more than the limit was requested, to know whether there are more.
  const bool has_more = found.size() > limit;
  if (has_more) found.resize(limit);
  cJSON* const rows = require(cJSON_AddArrayToObject(page.get(), "rows"));
  for (const AuditRow& row : found) add_row(rows, row);
  add(page.get(), "next", has_more ? AuditCursor::of(found.back(), order).text() : std::string());
  return {200, "application/json", print(page), {}};
}

}  // namespace

Result<HttpResponse, Refusal> answer_audit(RelayCalls& relay, std::string_view query) {
  try {
    refuse_unknown(query, kParameters);
    const AuditFilter filter = filter_of(query);
    const auto limit = limit_of(query, kDefaultRows, kMaxRows);
    std::optional<AuditCursor> after;
    if (const std::string text = value_of(query, "after"); !text.empty()) {
      after = AuditCursor::parse(text);
      if (!after) throw BadQuery("after", "what an earlier answer gave as `next`");
    }
    const AuditOrder order = order_of(query);
    auto rows = relay.audit(filter, after, limit + 1, order);
    if (!rows) return refusal_of(std::move(rows.error()));
    return page_of(std::move(*rows), limit, order);
  } catch (const BadQuery& bad) {
    return Refusal{RefusalCode::bad_query, bad.what()};
  }
}

}  // namespace waystation
