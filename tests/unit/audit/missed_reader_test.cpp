#include "audit/missed_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "support/failing_calls.hpp"
#include "unit/audit/audit_files.hpp"

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
    const auto answer = get(ask(audit, "bob", {start, {}}));
    ASSERT_TRUE(answer);
    EXPECT_EQ(count(answer), rows);
    EXPECT_TRUE(answer->complete);
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
  answer = get(ask(audit, "bob", {start, {}}));
  ASSERT_TRUE(answer);
  EXPECT_EQ(count(answer), 2U);
  EXPECT_TRUE(answer->complete);
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
  std::filesystem::remove(file_);
  std::filesystem::create_directory(file_);
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

}  // namespace
}  // namespace waystation::test
