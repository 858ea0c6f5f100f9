// GET /api/v1/nodes
#pragma once

#include <cstdint>

#include "http/http_api.hpp"

namespace waystation {

/// {"nodes": [{"node", "incarnation", "ready", "self", "last_seen"}…], "partial"?}. `now_ms` is in
/// ms since 1970. Throws std::bad_alloc.
Result<HttpResponse, Refusal> answer_nodes(RelayCalls& relay, std::int64_t now_ms);

}  // namespace waystation
