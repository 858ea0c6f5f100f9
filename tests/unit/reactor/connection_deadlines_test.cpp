#include "reactor/connection_deadlines.hpp"

#include <gtest/gtest.h>

namespace waystation::test {
namespace {

using Due = ConnectionDeadlines::Due;
constexpr std::int64_t kInterval = 1000;

TEST(ConnectionDeadlines, APingIsDueAfterAnIntervalUntilItIsSent) {
  ConnectionDeadlines deadlines(5000, kInterval);
  EXPECT_EQ(deadlines.next(kInterval), 6000);
  EXPECT_EQ(deadlines.due(5999, kInterval), Due::nothing);
  EXPECT_EQ(deadlines.due(6000, kInterval), Due::ping);
  EXPECT_EQ(deadlines.due(6001, kInterval), Due::ping);
  deadlines.on_ping_sent(6001, kInterval);
  EXPECT_EQ(deadlines.due(6001, kInterval), Due::nothing);
  EXPECT_EQ(deadlines.next(kInterval), 7000) << "the peer must be heard within two intervals";
}

TEST(ConnectionDeadlines, APeerThatSendsNothingForTwoIntervalsIsDead) {
  ConnectionDeadlines deadlines(0, kInterval);
  deadlines.on_ping_sent(1000, kInterval);
  deadlines.on_received(1500);
  EXPECT_EQ(deadlines.due(3499, kInterval), Due::ping);
  EXPECT_EQ(deadlines.due(3500, kInterval), Due::dead);
}

TEST(ConnectionDeadlines, AnExpiryCanBeMovedAndRemoved) {
  ConnectionDeadlines deadlines(0, kInterval);
  deadlines.set_expiry(300);
  EXPECT_EQ(deadlines.next(kInterval), 300);
  EXPECT_EQ(deadlines.due(300, kInterval), Due::expired);
  deadlines.set_expiry(400);
  EXPECT_EQ(deadlines.due(300, kInterval), Due::nothing);
  deadlines.set_expiry(0);
  EXPECT_EQ(deadlines.next(kInterval), 1000);
}

TEST(ConnectionDeadlines, AMessageMustBeCompleteWithinTwoIntervals) {
  ConnectionDeadlines deadlines(0, kInterval);
  deadlines.on_message_incomplete(100);
  deadlines.on_message_incomplete(900);  // of the same message
  deadlines.on_received(1900);
  deadlines.on_ping_sent(1900, kInterval);
  EXPECT_EQ(deadlines.next(kInterval), 2100);
  EXPECT_EQ(deadlines.due(2100, kInterval), Due::stalled);
  deadlines.on_message_complete();
  EXPECT_EQ(deadlines.due(2100, kInterval), Due::nothing);
}

TEST(ConnectionDeadlines, ARestartBeginsEachIntervalAnew) {
  ConnectionDeadlines deadlines(0, kInterval);
  deadlines.on_message_incomplete(100);
  deadlines.restart(50'000, 10);
  EXPECT_EQ(deadlines.due(50'000, 10), Due::nothing);
  EXPECT_EQ(deadlines.next(10), 50'010);
  EXPECT_EQ(deadlines.due(50'020, 10), Due::dead);
}

TEST(ConnectionDeadlines, WhileClosingThereIsNoOther) {
  ConnectionDeadlines deadlines(0, kInterval);
  deadlines.set_expiry(10);
  deadlines.on_message_incomplete(1);
  deadlines.close_by(9000);
  deadlines.restart(1, kInterval);
  EXPECT_EQ(deadlines.next(kInterval), 9000);
  EXPECT_EQ(deadlines.due(8999, kInterval), Due::nothing);
  deadlines.close_by(9500);
  EXPECT_EQ(deadlines.due(9000, kInterval), Due::nothing);
  EXPECT_EQ(deadlines.due(9500, kInterval), Due::close);
}

TEST(ReadPause, PausesAddUpToLessThanAMillisecond) {
  ReadPause pause;
  EXPECT_FALSE(pause.is_set());
  EXPECT_TRUE(pause.is_over(100));
  pause.extend(100, 100);
  pause.extend(100, 100);
  EXPECT_TRUE(pause.is_set());
  EXPECT_FALSE(pause.is_over(100));
  EXPECT_EQ(pause.end_ms(), 101);
  EXPECT_TRUE(pause.is_over(101));
  EXPECT_TRUE(pause.is_set()) << "until it is cleared";
  pause.clear();
  EXPECT_FALSE(pause.is_set());
}

TEST(ReadPause, TheNextMakesUpForAMillisecondOfDelayAndNoMore) {
  ReadPause pause;
  pause.extend(1000, 100);  // until 101
  pause.extend(2000, 101);  // nothing was lost
  EXPECT_EQ(pause.end_ms(), 103);
  pause.extend(2000, 500);  // 397 ms late, of which one counts
  EXPECT_EQ(pause.end_ms(), 501);
}

TEST(ReadPause, CanBeShortenedAndStaysSet) {
  ReadPause pause;
  pause.extend(3'600'000'000, 100);
  pause.shorten(200);
  EXPECT_TRUE(pause.is_over(200));
  EXPECT_TRUE(pause.is_set());
}

}  // namespace
}  // namespace waystation::test
