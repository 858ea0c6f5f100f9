#include "api/audit.hpp"

#include <system_error>
#include <utility>

#include "api/options.hpp"
#include "audit/audit_file.hpp"
#include "audit/file_size_signal.hpp"

namespace waystation {
namespace {

// Maximum time that a read of the audit may keep a worker of the web server. A page of one user's
// rows takes milliseconds.
constexpr std::chrono::milliseconds kReadDeadline{5000};

waystation_audit_state to_public(AuditState state) noexcept {
  switch (state) {
    case AuditState::starting:
      return WAYSTATION_AUDIT_STARTING;
    case AuditState::ok:
      return WAYSTATION_AUDIT_OK;
    case AuditState::disk_full:
      return WAYSTATION_AUDIT_DISK_FULL;
    case AuditState::locked:
      return WAYSTATION_AUDIT_LOCKED;
    case AuditState::read_only:
      return WAYSTATION_AUDIT_READ_ONLY;
    case AuditState::blocked:
      return WAYSTATION_AUDIT_BLOCKED;
    case AuditState::failed:
      return WAYSTATION_AUDIT_FAILED;
  }
  return WAYSTATION_AUDIT_FAILED;
}

waystation_log_level to_public(AuditLogLevel level) noexcept {
  switch (level) {
    case AuditLogLevel::error:
      return WAYSTATION_LOG_ERROR;
    case AuditLogLevel::warning:
      return WAYSTATION_LOG_WARNING;
    case AuditLogLevel::info:
      break;
  }
  return WAYSTATION_LOG_INFO;
}

}  // namespace

Result<void> check_audit_file(const waystation_options& options) {
  const auto file = text_or_empty(options.audit_file);
  if (file.empty()) return {};
  try {
    Audit::check(file);
    return {};
  } catch (const AuditRefused& refused) {
    return Error{"audit_file", refused.what()};
  }
}

std::unique_ptr<Audit> make_audit(const waystation_options& options, LogLine log) {
  if (text_or_empty(options.audit_file).empty()) return nullptr;
  AuditOptions audit;
  audit.file = text_or_empty(options.audit_file);
  audit.node = text_or_empty(options.node_name);
  audit.retention_days = options.audit_retention_days;
  audit.max_bytes = options.audit_max_bytes;
  audit.log = [log = std::move(log)](AuditLogLevel level, const std::string& line) {
    log(to_public(level), line);
  };
  try {
    return std::make_unique<Audit>(std::move(audit));
  } catch (const AuditRefused& refused) {
    throw OptionError({"audit_file", refused.what()});
  }
}

void add_audit_stats(const Audit* audit, waystation_stats& stats) noexcept {
  if (audit == nullptr) return;
  const auto found = audit->stats();
  stats.audit_state = to_public(found.state);
  stats.audit_rows_written = found.rows_written;
  stats.audit_rows_lost = found.rows_lost;
  stats.audit_rows_waiting = found.rows_waiting;
  stats.audit_lag_ms = found.lag_ms;
  stats.audit_file_bytes = found.file_bytes;
}

void add_audit_state(const Audit* audit, RelayCalls::Health& health) {
  if (audit == nullptr) return;
  auto found = audit->health();
  health.audit = audit_state_text(found.state);
  health.audit_fault = std::move(found.fault);
}

Result<std::vector<AuditRow>, CallFailure> audit_page(const Audit* audit, const AuditFilter& filter,
                                                      std::optional<AuditCursor> after,
                                                      std::size_t limit, AuditOrder order) {
  if (audit == nullptr) return CallFailure{CallFailure::Cause::off};
  const FileSizeSignalBlocker no_signal;
  // A new SQLite connection per call: it is cheap, works on any thread and opens the current file.
  try {
    AuditReader reader(audit->path());
    reader.set_deadline(kReadDeadline);
    return reader.page(filter, after, limit, order);
  } catch (const AuditTooSlow& slow) {
    return CallFailure{CallFailure::Cause::timeout, slow.what()};
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& problem) {
    return CallFailure{CallFailure::Cause::failed,
                       "the audit cannot be read: " + std::string(problem.what())};
  }
}

}  // namespace waystation
