// The options of an audit.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace waystation {

enum class AuditLogLevel : std::uint8_t { error, warning, info };

struct AuditOptions {
  std::string file;
  std::string node;                    // names this writer among several; empty: the host's name
  std::uint32_t retention_days = 30;   // 0: rows are kept whatever their age
  std::uint64_t max_bytes = 64 << 20;  // of the file; 0: no limit
  // Called on the audit's threads, and in the constructor; must not throw.
  std::function<void(AuditLogLevel, const std::string&)> log;

  std::size_t queue_bytes = 16 << 20;
  // How long rows wait to be committed together; one second while more than a thousand arrive in
  // this time. A sudden end loses at most the rows of that time and of the commit itself.
  std::chrono::milliseconds batch_interval{100};
  std::chrono::milliseconds retry_interval{500};  // after a fault
  // How often an idle writer checks that its file is still in place.
  std::chrono::milliseconds idle_interval{1000};
  // Questions what a user missed: how long those wait that share a flush, and how many may wait.
  static constexpr std::chrono::milliseconds kQuestionInterval{500};
  std::chrono::milliseconds question_interval = kQuestionInterval;
  std::size_t max_questions = 1000;
  // The limit of the WAL while another process reads: this size, or a quarter of max_bytes if that
  // is more, or four times this size if max_bytes is 0.
  std::int64_t wal_bytes = std::int64_t{64} << 20;
};

}  // namespace waystation
