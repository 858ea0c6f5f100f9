// The audit: a file that keeps who was sent which message when, and its outcome; never its content.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "audit/audit_inbox.hpp"
#include "audit/audit_options.hpp"
#include "audit/audit_status.hpp"
#include "audit/audit_writer.hpp"
#include "audit/missed_reader.hpp"
#include "relay/missed.hpp"
#include "relay/observer.hpp"

namespace waystation {

/// The configured node name; where it is empty, the host's, or "waystation" if that is none. Throws
/// AuditRefused if it is not a node name.
std::string resolve_node_name(const std::string& configured);

/// Whatever the disk does, on_delivery() costs no more than a copy of some names. Rows that cannot
/// be written wait in a bounded queue. Rows that find it full are counted, and a gap in the audit
/// says how many are missing and for which time.
class Audit final : public Observer, public MissedSource {
 public:
  /// Throws AuditRefused (the file is a link, another user's, a newer program's, …),
  /// std::system_error (no thread) or std::bad_alloc. A fault that may pass, such as a full disk,
  /// does not keep the audit from starting.
  explicit Audit(AuditOptions options);
  /// Calls stop().
  ~Audit();
  Audit(const Audit&) = delete;
  Audit& operator=(const Audit&) = delete;

  /// Throws AuditRefused if the constructor would. Changes nothing.
  static void check(const std::string& file);

  // ---- the relay's thread

  void on_delivery(const Delivery& delivery) noexcept override;
  void on_error_sent(ErrorCode) noexcept override {}
  /// The first question starts the thread that answers.
  void ask_missed(std::string user, MissedQuestion question, Completion done) override;

  // ---- any thread

  /// Waits until every delivery reported before is committed. False if it is not within `timeout`.
  bool flush(std::chrono::milliseconds timeout) { return inbox_.flush(timeout); }

  /// 0 switches a limit off.
  void set_retention(std::uint32_t days, std::uint64_t max_bytes) noexcept;

  AuditStats stats() const noexcept { return status_.read(inbox_); }
  /// Throws std::bad_alloc.
  AuditHealth health() const { return status_.health(); }

  /// The file's path, with links in its folder resolved.
  const std::string& path() const noexcept { return path_; }

  /// Writes the waiting rows, as far as that is possible within `timeout`, and ends the thread. The
  /// rest is counted as lost, and the next run records a gap. on_delivery() may no longer be
  /// called. May be called twice, by one thread at a time. It takes longer than `timeout` only if a
  /// system call on the disk does.
  void stop(std::chrono::milliseconds timeout = std::chrono::milliseconds(1000));

 private:
  const AuditOptions options_;
  const std::string path_;
  const std::string node_;
  AuditInbox inbox_;
  AuditStatus status_;
  AuditWriter writer_;
  std::thread thread_;
  std::unique_ptr<MissedReader> missed_;  // the relay's thread's, and stop()'s after its end
};

}  // namespace waystation
