#include "http/nodes_call.hpp"

#include "base/cjson.hpp"

namespace waystation {

Result<HttpResponse, Refusal> answer_nodes(RelayCalls& relay, std::int64_t now_ms) {
  auto found = relay.nodes();
  if (!found) return refusal_of(std::move(found.error()));
  const CJson root(require(cJSON_CreateObject()));
  cJSON* const nodes = require(cJSON_AddArrayToObject(root.get(), "nodes"));
  for (const NodeInfo& node : found->nodes) {
    cJSON* const object = require(cJSON_CreateObject());
    cJSON_AddItemToArray(nodes, object);
    require(cJSON_AddStringToObject(object, "node", node.name.c_str()));
    require(cJSON_AddStringToObject(object, "incarnation", node.incarnation.c_str()));
    require(cJSON_AddBoolToObject(object, "ready", node.is_ready ? 1 : 0));
    require(cJSON_AddBoolToObject(object, "self", node.is_own ? 1 : 0));
    require(
        cJSON_AddNumberToObject(object, "last_seen", static_cast<double>(now_ms - node.silent_ms)));
  }
  if (found->is_partial) require(cJSON_AddTrueToObject(root.get(), "partial"));
  return HttpResponse{200, "application/json", print(root), {}};
}

}  // namespace waystation
