// Answers what users missed, on a thread of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <vector>

#include "audit/audit_inbox.hpp"
#include "audit/audit_options.hpp"
#include "audit/audit_status.hpp"
#include "audit/duty_cycle.hpp"
#include "base/mutex.hpp"
#include "relay/missed.hpp"

namespace waystation {

class AuditReader;

/// A bounded queue of questions and the thread that reads the audit's file for them. Questions that
/// arrive within AuditOptions::question_interval share one flush of the writer, so that they cannot
/// make it write small batches.
///
/// The thread has the priority of its process: the relay's thread takes the same lock for a moment.
/// It pauses like the writer does while a query runs.
class MissedReader {
 public:
  /// Starts the thread. What the references name must outlive the reader. Throws std::system_error.
  MissedReader(const AuditOptions& options, std::string path, std::string node, AuditInbox& inbox,
               const AuditStatus& status);
  /// Calls stop().
  ~MissedReader();
  MissedReader(const MissedReader&) = delete;
  MissedReader& operator=(const MissedReader&) = delete;

  /// See MissedSource::ask_missed. Refused with audit_busy if AuditOptions::max_questions wait, or
  /// one of this user, and after five seconds behind other questions.
  void ask(std::string user, MissedQuestion question, MissedSource::Completion done);

  /// Answers waiting questions with audit_unavailable and ends the thread, also while it waits for
  /// a lock or runs a query. It ends a flush only once the inbox was told to stop. Further
  /// questions are refused.
  void stop() noexcept;

 private:
  using Clock = std::chrono::steady_clock;

  struct Waiting {
    std::string user;
    MissedQuestion question;
    MissedSource::Completion done;
    Clock::time_point asked_at;
  };

  void run() noexcept;
  bool take(std::vector<Waiting>& batch);
  bool flush();
  void answer(std::vector<Waiting>& batch, bool is_flushed) noexcept;
  MissedAnswer read(AuditReader& reader, const Waiting& waiting, bool is_flushed);
  void complete(Waiting& waiting, MissedAnswer answer) noexcept;
  void log_problem(const std::string& problem) noexcept;

  const AuditOptions& options_;
  const std::string path_;
  const std::string node_;
  AuditInbox& inbox_;
  const AuditStatus& status_;
  DutyCycle duty_cycle_;
  Clock::time_point next_flush_{};
  bool is_problem_logged_ = false;

  Mutex mutex_;
  Condition wake_;
  std::vector<Waiting> waiting_ WAYSTATION_GUARDED_BY(mutex_);
  // Whose question waits or is being answered.
  std::unordered_set<std::string> users_ WAYSTATION_GUARDED_BY(mutex_);
  std::atomic<bool> is_stopping_ = false;  // set with mutex_ held
  std::thread thread_;
};

}  // namespace waystation
