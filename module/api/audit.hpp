// A relay's audit: from options to the observer, and from its figures and rows to what C and HTTP
// show of them.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "audit/audit.hpp"
#include "audit/audit_reader.hpp"
#include "http/http_api.hpp"
#include "waystation/waystation.h"

namespace waystation {

using LogLine = std::function<void(waystation_log_level, const std::string&)>;

/// The audit that the options ask for; null where they ask for none. Throws std::invalid_argument
/// (one line naming the key, the value and what is allowed), std::system_error or std::bad_alloc.
std::unique_ptr<Audit> make_audit(const waystation_options& options, LogLine log);

/// What may be changed while it runs. Throws std::invalid_argument.
void check_audit_options(const waystation_options& options);

/// Writes the figures of an audit, or of none, into the public struct.
void add_audit_figures(const Audit* audit, waystation_figures& figures);

/// The same for /healthz.
void add_audit_health(const Audit* audit, RelayCalls::Health& health);

/// A page for the HTTP API; `off` where there is no audit. Any thread.
RelayCalls::AuditPage audit_page(const Audit* audit, const AuditFilter& filter,
                                 std::optional<AuditCursor> after, std::size_t limit,
                                 AuditOrder order);

}  // namespace waystation
