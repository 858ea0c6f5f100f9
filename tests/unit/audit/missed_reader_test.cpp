#include "audit/missed_reader.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/failing_calls.hpp"
#include "unit/audit/audit_files.hpp"
#include "unit/audit/sqlite_hook.hpp"

namespace waystation::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class MissedReaderTest : public AuditTest {
 protected:
  AuditOptions options() {
    auto result = AuditTest::options();
    result.question_interval = std::chrono::milliseconds(5);
    return result;
  }

  static std::future<MissedAnswer> ask(Audit& audit, const std::string& user = "bob",
                                       MissedQuestion question = {}) {
    const auto answer = std::make_shared<std::promise<MissedAnswer>>();
    audit.ask_missed(user, std::move(question),
                     [answer](MissedAnswer missed) { answer->set_value(std::move(missed)); });
    return answer->get_future();
  }
  static MissedAnswer get(std::future<MissedAnswer> answer) {
    if (answer.wait_for(kPatience) != std::future_status::ready) {
      ADD_FAILURE() << "no answer";
      return MissedFailure{ErrorCode::bad_json, "no answer"};
    }
    return answer.get();
  }
  /// Asks until the answer is complete: one that waits for a slow disk is not.
  static MissedAnswer complete_answer(Audit& audit, const MissedQuestion& question) {
    MissedAnswer answer = MissedFailure{ErrorCode::bad_json, "never asked"};
    EXPECT_TRUE(eventually([&] {
      answer = get(ask(audit, "bob", question));
      return !answer || answer->complete;
    }));
    return answer;
  }
  static std::uint64_t count(const MissedAnswer& answer) {
    return answer && !answer->from.empty() ? answer->from.front().count : 0;
  }
};

TEST_F(MissedReaderTest, CoversEveryRowThatWasReportedBefore) {
  auto slow = options();
  slow.batch_interval = std::chrono::hours(1);  // only a flush writes rows
  Audit audit(slow);
  const auto start = now_ms();
  for (std::uint64_t rows = 1; rows <= 20; ++rows) {
    audit.on_delivery(undelivered(now_ms()));
    const auto answer = complete_answer(audit, {start, {}});
    ASSERT_TRUE(answer);
    EXPECT_EQ(count(answer), rows);
  }
}

TEST_F(MissedReaderTest, QuestionsShareAFlush) {
  auto patient = options();
  patient.question_interval = std::chrono::hours(1);
  patient.max_questions = 50;
  Audit audit(patient);
  ASSERT_TRUE(get(ask(audit))) << "the first question waits for nothing";
  const int before = thread_sleeps("waystation-ask");
  std::vector<std::future<MissedAnswer>> waiting;
  for (int i = 0; i < 50; ++i) waiting.push_back(ask(audit, "u" + std::to_string(i)));
  const auto refused = get(ask(audit, "bob"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::audit_busy);
  // The reader has seen a question, and sleeps again.
  ASSERT_TRUE(eventually([&] { return thread_sleeps("waystation-ask") > before; }));
  EXPECT_EQ(waiting[0].wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  audit.stop();
  for (auto& answer : waiting) {
    const auto ended = get(std::move(answer));
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().code, ErrorCode::audit_unavailable);
  }
}

TEST_F(MissedReaderTest, AUserAsksOneQuestionAtATime) {
  auto patient = options();
  patient.question_interval = std::chrono::hours(1);
  Audit audit(patient);
  ASSERT_TRUE(get(ask(audit)));
  const auto waiting = ask(audit, "bob");
  const auto second = get(ask(audit, "bob"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::audit_busy);
  EXPECT_THAT(second.error().detail, HasSubstr("one at a time"));
}

TEST_F(MissedReaderTest, AUserMayAskAgainAfterAnAnswer) {
  Audit audit(options());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(get(ask(audit)));
}

TEST_F(MissedReaderTest, WithRowsThatCannotBeWrittenTheAnswerIsNotComplete) {
  Audit audit(options());
  const auto start = now_ms();
  audit.on_delivery(undelivered(start));
  ASSERT_TRUE(audit.flush(kPatience));
  Peek other(file_);
  ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  audit.on_delivery(undelivered(now_ms()));
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::locked; }));
  auto answer = get(ask(audit, "bob", {start, {}}));
  ASSERT_TRUE(answer);
  EXPECT_EQ(count(answer), 1U);
  EXPECT_FALSE(answer->complete);
  ASSERT_EQ(other.run("COMMIT"), SQLITE_OK);
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  answer = complete_answer(audit, {start, {}});
  ASSERT_TRUE(answer);
  EXPECT_EQ(count(answer), 2U);
}

TEST_F(MissedReaderTest, RowsThatFoundTheQueueFullAreAGap) {
  auto small = options();
  small.queue_bytes = 4096;
  Audit audit(small);
  const auto start = now_ms();
  Peek other(file_);
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  ASSERT_EQ(other.run("BEGIN IMMEDIATE"), SQLITE_OK);
  for (int i = 0; i < 1000; ++i) audit.on_delivery(undelivered(now_ms()));
  EXPECT_GT(audit.stats().rows_lost, 0U);
  ASSERT_EQ(other.run("COMMIT"), SQLITE_OK);
  ASSERT_TRUE(eventually([&] { return audit.flush(kPatience); }));
  ASSERT_TRUE(eventually([&] { return audit.stats().state == AuditState::ok; }));
  const auto answer = get(ask(audit, "bob", {start, {}}));
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->complete);
}

TEST_F(MissedReaderTest, AFileThatCannotBeReadIsUnavailableAndSaidOnceInTheLog) {
  auto idle = options();
  idle.idle_interval = std::chrono::hours(1);  // the writer does not look
  Audit audit(idle);
  ASSERT_TRUE(get(ask(audit)));
  // In one step: the writer makes the file anew where there is none.
  const auto folder = file_ + ".folder";
  std::filesystem::create_directory(folder);
  ASSERT_EQ(renameat2(AT_FDCWD, folder.c_str(), AT_FDCWD, file_.c_str(), RENAME_EXCHANGE), 0);
  for (int i = 0; i < 3; ++i) {
    const auto answer = get(ask(audit));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::audit_unavailable);
    EXPECT_EQ(answer.error().detail.find(file_), std::string::npos)
        << "the path is none of the client's business";
  }
  EXPECT_EQ(lines_.count("cannot be read for the question"), 1U);
}

TEST_F(MissedReaderTest, AsksOfAStoppedAuditAreRefused) {
  Audit audit(options());
  ASSERT_TRUE(get(ask(audit)));
  audit.stop();
  const auto answer = get(ask(audit));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::audit_unavailable);
}

/// Calls a function on the reader's thread when that opens the file.
class ReaderOpens {
 public:
  explicit ReaderOpens(std::function<void(sqlite3*)> f)
      : hook_([this, f = std::move(f)](sqlite3* handle) {
          std::array<char, 16> name{};
          pthread_getname_np(pthread_self(), name.data(), name.size());
          if (name.data() != std::string_view("waystation-ask")) return;
          ++count_;
          f(handle);
        }) {}
  int count() const { return count_; }

 private:
  std::atomic<int> count_ = 0;
  OpenHook hook_;
};

/// The reader's thread waits at a point of its work until the audit stops.
class MissedReaderStopTest : public MissedReaderTest {
 public:
  /// On the reader's thread.
  void wait_for_stop() {
    if (std::exchange(has_waited_, true)) return;
    reached_.set_value();
    EXPECT_EQ(stopping_.get_future().wait_for(kPatience), std::future_status::ready);
  }

 protected:
  /// Begins to stop while the reader waits, lets it go on, and returns its answer.
  MissedAnswer stop_meanwhile(Audit& audit, std::future<MissedAnswer> answer) {
    EXPECT_EQ(reached_.get_future().wait_for(kPatience), std::future_status::ready);
    std::thread stopping([&] { audit.stop(); });
    // Only stop() refuses the questions of others now.
    EXPECT_TRUE(eventually([&] {
      const auto other = ask(audit, "u" + std::to_string(++others_));
      return other.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    }));
    stopping_.set_value();
    stopping.join();
    return get(std::move(answer));
  }

 private:
  bool has_waited_ = false;
  int others_ = 0;
  std::promise<void> reached_;
  std::promise<void> stopping_;
};

/// Locks the file of an audit for as long as it exists.
class ExclusiveLock {
 public:
  explicit ExclusiveLock(const std::string& file) : connection_(file) {
    EXPECT_EQ(connection_.run("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; COMMIT"),
              SQLITE_OK);
  }

 private:
  Peek connection_;
};

TEST_F(MissedReaderTest, AFileThatIsLockedIsOpenedOnceForAllQuestionsThatWait) {
  { const Audit made(options()); }
  const ExclusiveLock lock(file_);
  std::promise<void> asked;
  const auto all_asked = asked.get_future().share();
  const ReaderOpens opens([&](sqlite3*) { all_asked.wait(); });
  Audit audit(options());
  std::vector<std::future<MissedAnswer>> answers;
  answers.push_back(ask(audit, "first"));
  ASSERT_TRUE(eventually([&] { return opens.count() == 1; }));
  for (int i = 0; i < 20; ++i) answers.push_back(ask(audit, "u" + std::to_string(i)));
  asked.set_value();
  for (auto& answer : answers) {
    const auto missed = get(std::move(answer));
    ASSERT_FALSE(missed);
    // On a slow machine, the time of a question is over before SQLite gives up.
    const auto code = missed.error().code;
    EXPECT_TRUE(code == ErrorCode::audit_unavailable || code == ErrorCode::timeout);
  }
  EXPECT_EQ(opens.count(), 2);
}

TEST_F(MissedReaderStopTest, StopEndsTheWaitForALock) {
  { const Audit made(options()); }
  const ExclusiveLock lock(file_);
  const ReaderOpens opens([this](sqlite3*) { wait_for_stop(); });
  Audit audit(options());
  const auto answer = stop_meanwhile(audit, ask(audit));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::audit_unavailable);
  EXPECT_EQ(lines_.count("cannot be read for the question"), 0U) << "it waited for the lock";
}

TEST_F(MissedReaderStopTest, StopEndsAQuery) {
  // The query calls max(a, b) before it reads the rows.
  const ReaderOpens opens([this](sqlite3* handle) {
    sqlite3_create_function(
        handle, "max", 2, SQLITE_UTF8, this,
        [](sqlite3_context* context, int, sqlite3_value** values) {
          static_cast<MissedReaderStopTest*>(sqlite3_user_data(context))->wait_for_stop();
          sqlite3_result_value(context, values[0]);
        },
        nullptr, nullptr);
  });
  Audit audit(options());
  for (int i = 0; i < 5000; ++i) audit.on_delivery(undelivered(now_ms()));
  ASSERT_TRUE(audit.flush(kPatience));
  const auto answer = stop_meanwhile(audit, ask(audit));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::audit_unavailable);
}

}  // namespace
}  // namespace waystation::test
