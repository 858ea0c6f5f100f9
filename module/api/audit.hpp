// A relay's audit: from options to the observer, and from its statistics and rows to what C and
// HTTP show of them.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "audit/audit.hpp"
#include "audit/audit_reader.hpp"
#include "base/result.hpp"
#include "http/http_api.hpp"
#include "waystation/waystation.h"

namespace waystation {

using LogLine = std::function<void(waystation_log_level, const std::string&)>;

/// The audit that the options ask for, which are checked; null where they ask for none. Throws
/// OptionError (audit_file), std::system_error or std::bad_alloc.
std::unique_ptr<Audit> make_audit(const waystation_options& options, LogLine log);

/// Whether make_audit() would accept `audit_file`; changes nothing.
Result<void> check_audit_file(const waystation_options& options);

/// Writes the statistics of an audit, or of none, into the public struct.
void add_audit_stats(const Audit* audit, waystation_stats& stats);

/// The state of an audit, or of none, for /healthz.
void add_audit_state(const Audit* audit, RelayCalls::Health& health);

/// A page for the HTTP API; `off` where there is no audit. Any thread.
RelayCalls::AuditPage audit_page(const Audit* audit, const AuditFilter& filter,
                                 std::optional<AuditCursor> after, std::size_t limit,
                                 AuditOrder order);

}  // namespace waystation
