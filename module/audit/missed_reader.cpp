#include "audit/missed_reader.hpp"

#include <algorithm>
#include <exception>
#include <new>
#include <optional>
#include <utility>

#include "audit/audit_reader.hpp"
#include "audit/file_size_signal.hpp"
#include "base/clock.hpp"
#include "base/thread.hpp"

namespace waystation {
namespace {

using namespace std::chrono_literals;

constexpr auto kQueryDeadline = 1s;
// A flush that takes longer leaves rows out, and the answers are not complete.
constexpr auto kFlushTimeout = 1s;
// A caller that waits longer has given up.
constexpr auto kMaxAge = 5s;
// The batch before may need as long.
static_assert(AuditOptions::kQuestionInterval + 2 * (kFlushTimeout + kQueryDeadline) <=
              MissedSource::kAnswerTime);
static_assert(MissedSource::kAnswerTime < kMaxAge);

}  // namespace

MissedReader::MissedReader(const AuditOptions& options, std::string path, std::string node,
                           AuditInbox& inbox, const AuditStatus& status)
    : options_(options),
      path_(std::move(path)),
      node_(std::move(node)),
      inbox_(inbox),
      status_(status),
      thread_(start_thread("waystation-ask", [this] { run(); })) {}

MissedReader::~MissedReader() {
  stop();
}

void MissedReader::ask(std::string user, MissedQuestion question, MissedSource::Completion done) {
  std::optional<MissedFailure> refusal;
  {
    const MutexLock lock(mutex_);
    if (is_stopping_) {
      refusal = missed_failure(ErrorCode::audit_unavailable);
    } else if (users_.size() >= options_.max_questions) {
      refusal = missed_failure(ErrorCode::audit_busy);
    } else if (const auto [own, is_new] = users_.insert(user); !is_new) {
      refusal = second_question_failure();
    } else {
      try {
        waiting_.push_back({std::move(user), std::move(question), std::move(done), Clock::now()});
      } catch (...) {
        users_.erase(own);
        throw;
      }
      wake_.notify_all();
    }
  }
  if (refusal) done(*refusal);
}

void MissedReader::stop() noexcept {
  {
    const MutexLock lock(mutex_);
    is_stopping_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void MissedReader::run() noexcept {
  const FileSizeSignalBlocker no_signal;
  std::vector<Waiting> batch;
  while (take(batch)) answer(batch, flush());
  for (auto& waiting : batch) complete(waiting, missed_failure(ErrorCode::audit_unavailable));
}

/// Waits for questions, and then until the next flush is allowed. False: the reader stops.
bool MissedReader::take(std::vector<Waiting>& batch) {
  batch.clear();
  const MutexLock lock(mutex_);
  while (waiting_.empty() && !is_stopping_) wake_.wait(mutex_);
  while (!is_stopping_ && wake_.wait_until(mutex_, next_flush_)) {
  }
  batch.swap(waiting_);
  return !is_stopping_;
}

/// Whether every row that was reported before is in the file.
bool MissedReader::flush() {
  next_flush_ = Clock::now() + options_.question_interval;
  // A writer with a fault tries again only now and then.
  const auto state = status_.state();
  if (state != AuditState::ok && state != AuditState::starting) return false;
  return inbox_.flush(kFlushTimeout) && status_.state() == AuditState::ok;
}

void MissedReader::answer(std::vector<Waiting>& batch, bool is_flushed) noexcept {
  std::optional<AuditReader> reader;
  // Each attempt to open a locked file takes long: one answers all.
  bool is_readable = true;
  for (auto& waiting : batch) {
    if (!is_readable || is_stopping_) {
      complete(waiting, missed_failure(ErrorCode::audit_unavailable));
      continue;
    }
    if (Clock::now() - waiting.asked_at > kMaxAge) {
      complete(waiting, missed_failure(ErrorCode::audit_busy));
      continue;
    }
    try {
      // One connection for the batch, which is soon closed: the file may be replaced.
      if (!reader) {
        reader.emplace(path_, [this] {
          duty_cycle_.pause_if_due();
          return !is_stopping_;
        });
      }
      complete(waiting, read(*reader, waiting, is_flushed));
      is_problem_logged_ = false;
    } catch (const std::exception& problem) {
      is_readable = false;
      if (!is_stopping_) log_problem(problem.what());
      complete(waiting, missed_failure(ErrorCode::audit_unavailable));
    }
  }
}

MissedAnswer MissedReader::read(AuditReader& reader, const Waiting& waiting, bool is_flushed) {
  try {
    reader.set_deadline(kQueryDeadline);
    auto missed = reader.missed(waiting.user, node_, waiting.question, wall_clock_ms());
    missed.complete = missed.complete && is_flushed;
    return missed;
  } catch (const AuditTooSlow&) {
    return missed_failure(is_stopping_ ? ErrorCode::audit_unavailable : ErrorCode::timeout);
  }
}

void MissedReader::complete(Waiting& waiting, MissedAnswer answer) noexcept {
  {
    const MutexLock lock(mutex_);
    users_.erase(waiting.user);
  }
  try {
    waiting.done(std::move(answer));
  } catch (const std::exception&) {
    // Out of memory: the caller gets no answer, and may ask again.
  }
}

/// Once, until a question is answered again.
void MissedReader::log_problem(const std::string& problem) noexcept {
  if (std::exchange(is_problem_logged_, true) || !options_.log) return;
  try {
    options_.log(AuditLogLevel::warning,
                 "audit: " + path_ + " cannot be read for the question what a user missed: " +
                     problem + "; clients get audit_unavailable");
  } catch (...) {
  }
}

}  // namespace waystation
