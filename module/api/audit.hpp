// A relay's audit: creation from options, and conversion of its statistics and rows for the C and
// HTTP interfaces.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "audit/audit.hpp"
#include "audit/audit_reader.hpp"
#include "base/result.hpp"
#include "http/http_api.hpp"
#include "waystation/waystation.h"

namespace waystation {

using LogLine = std::function<void(waystation_log_level, const std::string&)>;

/// Creates the audit from checked options. Null if the audit is off. Throws OptionError
/// (audit_file), std::system_error or std::bad_alloc.
std::unique_ptr<Audit> make_audit(const waystation_options& options, LogLine log);

/// Checks whether make_audit() would accept `audit_file`. Changes nothing.
Result<void> check_audit_file(const waystation_options& options);

/// Writes an audit's statistics into the public struct. Does nothing if `audit` is null.
void add_audit_stats(const Audit* audit, waystation_stats& stats) noexcept;

/// Adds an audit's state to /healthz. Does nothing if `audit` is null.
void add_audit_state(const Audit* audit, RelayCalls::Health& health);

/// A page of rows for the HTTP API. Fails with `off` if `audit` is null. Any thread.
Result<std::vector<AuditRow>, CallFailure> audit_page(const Audit* audit, const AuditFilter& filter,
                                                      std::optional<AuditCursor> after,
                                                      std::size_t limit, AuditOrder order);

}  // namespace waystation
