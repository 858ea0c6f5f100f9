#include "api/audit.hpp"

#include <stdexcept>
#include <system_error>
#include <utility>

#include "audit/audit_file.hpp"
#include "audit/file_size_signal.hpp"

namespace waystation {
namespace {

constexpr std::uint64_t kMinBytes = 1 << 20;
constexpr std::uint32_t kMostDays = 36500;
// How long a web server's worker may look through an audit; the page of a user takes milliseconds.
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
      return WAYSTATION_AUDIT_HELD;
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

void check_audit_options(const waystation_options& options) {
  if (options.audit_retention_days > kMostDays) {
    throw std::invalid_argument(
        "audit_retention_days = " + std::to_string(options.audit_retention_days) + ": 0 to " +
        std::to_string(kMostDays));
  }
  if (options.audit_max_bytes != 0 && options.audit_max_bytes < kMinBytes) {
    throw std::invalid_argument("audit_max_bytes = " + std::to_string(options.audit_max_bytes) +
                                ": 0, or at least " + std::to_string(kMinBytes));
  }
}

std::unique_ptr<Audit> make_audit(const waystation_options& options, LogLine log) {
  check_audit_options(options);
  if (options.audit_file == nullptr || *options.audit_file == '\0') return nullptr;
  AuditOptions audit;
  audit.file = options.audit_file;
  if (options.audit_node != nullptr) audit.node = options.audit_node;
  audit.retention_days = options.audit_retention_days;
  audit.max_bytes = options.audit_max_bytes;
  audit.log = [log = std::move(log)](AuditLogLevel level, const std::string& line) {
    log(to_public(level), line);
  };
  return std::make_unique<Audit>(std::move(audit));
}

void add_audit_figures(const Audit* audit, waystation_figures& figures) {
  if (audit == nullptr) return;
  const auto found = audit->stats();
  figures.audit_state = to_public(found.state);
  figures.audit_rows_written = found.rows_written;
  figures.audit_rows_lost = found.rows_lost;
  figures.audit_rows_waiting = found.rows_waiting;
  figures.audit_lag_ms = found.lag_ms;
  figures.audit_file_bytes = found.file_bytes;
}

void add_audit_health(const Audit* audit, RelayCalls::Health& health) {
  if (audit == nullptr) return;
  const auto found = audit->stats();
  health.audit = audit_state_text(found.state);
  health.audit_fault = found.fault;
  for (const auto& [name, figure] :
       {std::pair{"audit_rows_written", found.rows_written},
        std::pair{"audit_rows_lost", found.rows_lost},
        std::pair{"audit_rows_waiting", found.rows_waiting},
        std::pair{"audit_lag_ms", found.lag_ms}, std::pair{"audit_file_bytes", found.file_bytes}}) {
    health.figures.emplace_back(name, figure);
  }
}

RelayCalls::AuditPage audit_page(const Audit* audit, const AuditFilter& filter,
                                 std::optional<AuditCursor> after, std::size_t limit,
                                 AuditOrder order) {
  if (audit == nullptr) return {CallStatus::off, {}, {}};
  const FileSizeSignalBlocker no_signal;
  // A connection for the call: cheap, good for any thread, and always the file that is there now.
  try {
    AuditReader reader(audit->path());
    reader.set_deadline(kReadDeadline);
    return {CallStatus::done, reader.page(filter, after, limit, order), {}};
  } catch (const AuditTooSlow& slow) {
    return {CallStatus::timeout, {}, slow.what()};
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& problem) {
    return {CallStatus::failed, {}, "the audit cannot be read: " + std::string(problem.what())};
  }
}

}  // namespace waystation
